"""Fresh disclosures on their files: whatever a write leaves behind, those acknowledged are there, once, in order."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.errors import StorageFull, StoreError
from gateway.store import audit_fresh
from gateway.store.audit_fresh import NAMES, FreshRows, groups, packed

MANY = 1 << 30
Left = Callable[[bytes, int], bytes]


async def _append(fresh: FreshRows, *rows: bytes) -> Exception | None:
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    fresh.append(list(rows), told.set_result)
    return await told


def _opened(folder: Path, chained: int = 0) -> tuple[FreshRows, list[tuple[int, bytes]]]:
    fresh = FreshRows(folder, chained)
    return fresh, fresh.after(chained, MANY)


async def test_rows_are_numbered_on_from_the_chained_ones_and_found_after_a_restart(tmp_path: Path) -> None:
    fresh, found = _opened(tmp_path, 7)
    assert found == []
    for rows in ([b"a"], [b"b", b"c"]):
        assert await _append(fresh, *rows) is None
    assert fresh.after(7, 2) == [(8, b"a"), (9, b"b")]
    assert fresh.after(9, MANY) == [(10, b"c")]
    fresh.close()
    again, found = _opened(tmp_path, 8)
    assert found == [(9, b"b"), (10, b"c")]
    again.close()


async def test_a_file_cut_at_any_byte_of_its_last_group_keeps_all_before_it(tmp_path: Path) -> None:
    kept, last = [b'{"n":%d}' % n for n in range(3)], [b'{"last":1}', b'{"last":2}']
    start = packed(1, kept)
    whole = start + packed(4, last)
    older = b"".join(packed(n, [b'{"older":%d}' % n]) for n in range(1, 9))
    behind: dict[str, Left] = {
        "nothing": lambda content, at: content[:at],
        "zeros": lambda content, at: content[:at] + bytes(700),
        "garbage": lambda content, at: content[:at] + random.Random(at).randbytes(700),
        "an older round": lambda content, at: content[:at] + older[at:],
    }
    for name, left in behind.items():
        for at in range(len(start), len(whole) + 1):
            (tmp_path / NAMES[0]).write_bytes(left(whole, at))
            fresh, found = _opened(tmp_path)
            expected = [*kept, *last] if at == len(whole) else kept
            assert [row for _, row in found] == expected, (name, at)
            assert await _append(fresh, b"next") is None
            fresh.close()
            again, found = _opened(tmp_path)
            assert found[-1] == (len(expected) + 1, b"next") and len(found) == len(expected) + 1, (name, at)
            again.close()


async def test_a_write_cut_short_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAMES[0]).write_bytes(packed(1, [b"a"]) + packed(2, [b"b"])[:-1])
    _opened(tmp_path)[0].close()
    assert "cut short" in caplog.text
    caplog.clear()
    (tmp_path / NAMES[0]).write_bytes(packed(1, [b"a"]) + packed(3, [b"c"]))
    _opened(tmp_path)[0].close()
    assert "disclosures 2 to 2 are gone" in caplog.text


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    whole = packed(5, [b"one", b"two"])
    assert list(groups(whole)) == [(5, [b"one", b"two"], len(whole))]
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit >> 3] ^= 1 << (bit & 7)
        assert list(groups(bytes(changed))) == [], bit


@pytest.mark.parametrize("seed", range(8))
async def test_files_change_places_and_nothing_unchained_is_ever_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(audit_fresh, "_TURN", 300)
    monkeypatch.setattr(audit_fresh, "_ROOM", 64)
    chance, said, chained = random.Random(seed), [], 0
    fresh = FreshRows(tmp_path, 0)
    for _ in range(300):
        rows = [b'{"row":%d}' % (len(said) + n) for n in range(chance.randint(1, 5))]
        assert await _append(fresh, *rows) is None
        said += rows
        if chance.random() < 0.3:  # the sealer takes over a part, and says so when it comes for more
            chained += chance.randint(0, len(said) - chained)
            assert [row for _, row in fresh.after(chained, MANY)] == said[chained:]
        if chance.random() < 0.1:
            fresh.close()
            fresh, found = _opened(tmp_path, chained)
            assert found == list(enumerate(said, 1))[chained:]
    fresh.close()
    assert all(0 < (tmp_path / name).stat().st_size < 20_000 for name in NAMES)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[OSError]]:
    """The next write through leaves half its bytes and ends with the error put in here."""
    faults: list[OSError] = []
    real = audit_fresh.write_through

    def write_through(handle: int, data: bytes, at: int) -> None:
        if faults:
            os.pwrite(handle, data[: len(data) // 2], at)
            raise faults[0]
        real(handle, data, at)

    monkeypatch.setattr(audit_fresh, "write_through", write_through)
    yield faults
    faults.clear()


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, StorageFull), (errno.EIO, StoreError)])
async def test_a_write_that_fails_is_told_and_written_over(
    tmp_path: Path, disk: list[OSError], number: int, expected: type[Exception]
) -> None:
    fresh, _ = _opened(tmp_path)
    assert await _append(fresh, b"a") is None
    disk.append(OSError(number, os.strerror(number)))
    assert isinstance(await _append(fresh, b"refused" * 40), expected)
    disk.clear()
    assert await _append(fresh, b"b") is None
    assert fresh.after(0, MANY) == [(1, b"a"), (2, b"b")]
    fresh.close()
    again, found = _opened(tmp_path)
    assert found == [(1, b"a"), (2, b"b")]
    again.close()


async def test_a_log_nobody_chains_stops_disclosing_before_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_fresh, "_MOST", 100)
    fresh, _ = _opened(tmp_path)
    answers = [await _append(fresh, b"x" * 60) for _ in range(3)]
    assert answers[:2] == [None, None] and isinstance(answers[2], StorageFull)
    assert len(fresh.after(1, MANY)) == 1
    assert await _append(fresh, b"y") is None
    fresh.close()
