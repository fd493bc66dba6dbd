"""Disclosures just made, in two files beside `audit.db`, until the sealer has chained them there.

A read waits for its disclosure, so this is the shortest way to the disk: rows that wait together are one group, and a
group is one write through to the platter (O_DSYNC), mostly over bytes the file already has. While one file is written,
the other's rows are chained; then the two change places. Nothing is ever truncated: what an older round left behind
the last group has smaller numbers, so reading stops there.

A group: CRC-32 of all that follows (u32), bytes of its rows (u32), number of its first row (u64), little endian; then
the rows, JSON, a line each.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import queue
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path

from ..errors import StorageFull, StoreError
from .audit_log import Told

NAMES = ("audit-0.fresh", "audit-1.fresh")
_HEAD = struct.Struct("<IIQ")
_TURN = 1 << 20
"""Bytes after which the other file is written, once all its rows are chained."""
_ROOM = 1 << 18
"""Zeros written ahead of a growing file: a write that also moves its end costs the file system a second one."""
_MOST = 64 << 20
"""Bytes of rows that may wait to be chained; a log that cannot be chained any more stops disclosing."""
_LOG = logging.getLogger("gateway.store")


class FreshRows:
    """Rows by number, oldest first, held in memory as well. Everything but the write itself is on the event loop."""

    def __init__(self, directory: Path, chained: int) -> None:
        """chained: number of the last row `audit.db` has."""
        self._rows: deque[tuple[int, bytes]] = deque()
        self._bytes, self._chained, self._last = 0, chained, chained
        # The one written last comes first; what it says is newer than all in the other.
        self._files = sorted((_File(directory / name) for name in NAMES), key=lambda file: file.last, reverse=True)
        for file in reversed(self._files):
            self._recover(file)
        if any(file.begun(self._last + 1) for file in self._files):
            _LOG.warning("disclosures: a write was cut short; nobody was answered on it, it is dropped")
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="fresh disclosures", daemon=True)
        self._thread.start()

    def _recover(self, file: _File) -> None:
        for first, rows, _ in groups(file.read()):
            if first > self._last + 1:
                _LOG.error("disclosures %d to %d are gone, found none in %s", self._last + 1, first - 1, file.path)
            self._keep([one for one in zip(count(first), rows) if one[0] > self._chained])
            self._last = max(self._last, first + len(rows) - 1)

    def _keep(self, rows: Sequence[tuple[int, bytes]]) -> None:
        self._rows.extend(rows)
        self._bytes += sum([len(row) for _, row in rows])

    # ---- writing -----------------------------------------------------------------------------
    def append(self, rows: list[bytes], told: Told) -> None:
        """Number the rows and write them; `told` hears on the event loop what became of it. One call at a time."""
        if self._bytes > _MOST:
            told(StorageFull(detail=f"{self._bytes >> 20} MB of disclosures wait to be chained"))
            return
        file, loop = self._file(), asyncio.get_running_loop()
        first = self._last + 1
        group = packed(first, rows)

        def write() -> None:
            fault = file.write(group)
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(written, fault)

        def written(fault: Exception | None) -> None:
            if fault is None:
                self._last = file.last = first + len(rows) - 1
                self._keep(list(zip(count(first), rows)))
            told(fault)

        self._jobs.put(write)

    def _file(self) -> _File:
        here, other = self._files
        if here.end >= _TURN and other.last <= self._chained:
            other.end = 0
            self._files = [other, here]
        return self._files[0]

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    # ---- chaining ----------------------------------------------------------------------------
    @property
    def newest(self) -> int:
        """Number of the last row on disk."""
        return self._last

    def after(self, chained: int, limit: int) -> list[tuple[int, bytes]]:
        """The next rows behind the last chained one; those up to it are not asked for again."""
        self._chained = max(self._chained, chained)
        while self._rows and self._rows[0][0] <= chained:
            self._bytes -= len(self._rows.popleft()[1])
        return list(islice(self._rows, limit))

    def close(self) -> None:
        """Finish the write at hand, close the files."""
        self._jobs.put(None)
        self._thread.join()
        for file in self._files:
            os.close(file.handle)


class _File:
    """One of the two. end: where the next group goes; last: number of the newest row in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        made = not path.exists()
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o600)
        if made:
            _keep_names(path.parent)
        self._size = os.fstat(self.handle).st_size
        self.last = self.end = 0
        for first, rows, end in groups(self.read()):
            self.last, self.end = first + len(rows) - 1, end

    def read(self) -> bytes:
        """All there is, older rounds too."""
        return os.pread(self.handle, self._size, 0)

    def begun(self, first: int) -> bool:
        """Whether a group of this number was begun behind the last whole one."""
        head = os.pread(self.handle, _HEAD.size, self.end)
        return len(head) == _HEAD.size and _HEAD.unpack(head)[2] == first

    def write(self, group: bytes) -> Exception | None:
        """On the writing thread. What could not be written whole is written over by the next group."""
        try:
            if self.end + len(group) > self._size:
                self._grow(self.end + len(group) + _ROOM)
            write_through(self.handle, group, self.end)
        except OSError as fault:
            full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
            return StorageFull(detail="disk full") if full else StoreError(detail=type(fault).__name__)
        self.end += len(group)
        return None

    def _grow(self, size: int) -> None:
        with contextlib.suppress(OSError):  # without the room the group itself may still find its place
            write_through(self.handle, bytes(size - self._size), self._size)
        self._size = os.fstat(self.handle).st_size


def write_through(handle: int, data: bytes, at: int) -> None:
    """On disk on return. Raises OSError, also for a part."""
    if os.pwrite(handle, data, at) < len(data):
        raise OSError(errno.ENOSPC, "a part was written")


def _keep_names(directory: Path) -> None:
    """A file whose name is not on disk yet goes with the power, however well its bytes are kept."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---- the format -----------------------------------------------------------------------------------
def packed(first: int, rows: Sequence[bytes]) -> bytes:
    """A group."""
    body = b"\n".join(rows)
    head = _HEAD.pack(0, len(body), first)[4:]
    return b"%b%b%b" % (_crc(head, body), head, body)


def groups(content: bytes) -> Iterator[tuple[int, list[bytes], int]]:
    """(number of the first row, rows, where it ends) of the groups of the newest round, in order."""
    at, last = 0, 0
    while (found := _group(content, at)) is not None and found[0] > last:
        yield found
        last, at = found[0] + len(found[1]) - 1, found[2]


def _group(content: bytes, at: int) -> tuple[int, list[bytes], int] | None:
    """A group and where it ends; None where there is no whole one."""
    start = at + _HEAD.size
    if start > len(content):
        return None
    _, size, first = _HEAD.unpack_from(content, at)
    head, body = content[at + 4 : start], content[start : start + size]
    if not size or len(body) < size or content[at : at + 4] != _crc(head, body):
        return None
    return first, body.split(b"\n"), start + size


def _crc(head: bytes, body: bytes) -> bytes:
    return zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little")
