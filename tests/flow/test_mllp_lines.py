"""MLLP as hospitals use it: TLS with their own certificates, chosen acknowledgements, batches, limits."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.config import load
from gateway.errors import BrokenFrame, ConfigError, InboxFull
from gateway.inbound.lines import allowed
from gateway.inbound.mllp import MllpDoor, send
from gateway.settings import Mllp
from gateway.store.inbox_base import Entry
from tests.flow.alliance import Alliance
from tests.flow.keys import shows
from tests.flow.messages import card, oru

Door = Callable[..., int]


@pytest.fixture
def secured(tmp_path: Path, keys: Path) -> Iterator[Alliance]:
    """The city hospital is bound to `city-esb`; its line is TLS."""
    made = Alliance(tmp_path / "home", sources={"city_first_hospital": {"certificate": "city-esb"}})
    yield made
    made.close()


@pytest.fixture
def door() -> Iterator[Callable[[Alliance, Mllp], int]]:
    opened: list[tuple[Alliance, MllpDoor]] = []

    def open_(alliance: Alliance, settings: Mllp) -> int:
        one = MllpDoor(alliance.gateway.intake, settings)
        opened.append((alliance, one))
        return alliance.run(one.start("127.0.0.1", 0))

    yield open_
    for alliance, one in opened:
        alliance.run(one.stop())


def tls(keys: Path, **more: Any) -> Mllp:
    pem, key, ca = (str(keys / name) for name in ("server.pem", "server.key", "ca.pem"))
    return Mllp(tls_cert=pem, tls_key=key, tls_client_ca=ca, **more)


def ask(port: int, *messages: bytes, context: ssl.SSLContext | None = None) -> list[bytes]:
    return asyncio.run(send("127.0.0.1", port, list(messages), tls=context))


# ---- certificates --------------------------------------------------------------------------------
def test_a_hospital_with_its_own_certificate_is_served(secured: Alliance, keys: Path, door: Door) -> None:
    port = door(secured, tls(keys))
    assert b"MSA|AA|T00000001" in ask(port, oru(1, 1), context=shows(keys, "city-esb"))[0]
    secured.drain()
    assert secured.person(card(1))


def test_a_vendor_tries_its_certificate_from_the_command_line(
    secured: Alliance, keys: Path, door: Door, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at = f"127.0.0.1:{door(secured, tls(keys))}"
    (tmp_path / "report.hl7").write_bytes(oru(1, 1))
    asked = ["send", str(tmp_path / "report.hl7"), "--mllp", at]
    own = ["--cert", str(keys / "city-esb.pem"), "--key", str(keys / "city-esb.key")]
    ca = ["--ca", str(keys / "ca.pem")]
    assert main([*asked, "--tls", *ca, *own]) == 0
    assert "MSA|AA|T00000001" in capfd.readouterr().out
    assert main([*asked, "--tls", *own]) == 4, "a server whose CA is not known is not spoken to"
    assert main([*asked, *own]) == 2
    assert main([*asked, "--tls", *ca, "--cert", str(keys / "nobody.pem")]) == 3


def test_another_hospitals_certificate_cannot_speak_for_it(secured: Alliance, keys: Path, door: Door) -> None:
    port = door(secured, tls(keys))
    answer = ask(port, oru(1, 1), context=shows(keys, "county-lis"))[0]
    assert b"MSA|AR|T00000001" in answer and b"GW-INB-024" in answer
    secured.drain()
    assert secured.found("Patient") == []
    (entry,) = secured.run(secured.gateway.inbox.messages.entries())
    assert entry.reason == "GW-INB-024"


def test_another_hospitals_certificate_asks_nothing_for_it(secured: Alliance, keys: Path, door: Door) -> None:
    port = door(secured, tls(keys))
    assert b"MSA|AA" in ask(port, oru(1, 1), context=shows(keys, "city-esb"))[0]
    secured.drain()
    head = "MSH|^~\\&|ESB|CITY1|GATEWAY|ALLIANCE|20260320||QBP^Q22^QBP_Q21|K1|P|2.5"
    query = f"{head}\rQPD|IHE PDQ Query|T1|@PID.19^{card(1)}\rRCP|I\r".encode()
    assert b"\rPID|" in ask(port, query, context=shows(keys, "city-esb"))[0]
    refused = ask(port, query, context=shows(keys, "county-lis"))[0]
    assert b"MSA|AR|K1" in refused and b"GW-INB-024" in refused and b"PID|" not in refused


def test_a_sender_bound_to_no_certificate_is_not_served_over_tls(empty: Alliance, keys: Path, door: Door) -> None:
    port = door(empty, tls(keys))
    assert b"GW-INB-024" in ask(port, oru(1, 1), context=shows(keys, "city-esb"))[0]


def test_a_sender_bound_to_a_certificate_is_not_served_without(secured: Alliance) -> None:
    assert b"GW-INB-024" in secured.mllp(oru(1, 1))


@pytest.mark.parametrize("name", ["", "stranger"])
def test_no_certificate_or_one_of_another_ca_opens_no_line(
    secured: Alliance, keys: Path, door: Door, name: str
) -> None:
    port = door(secured, tls(keys))
    with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
        ask(port, oru(1, 1), context=shows(keys, name))
    assert secured.run(secured.gateway.inbox.messages.entries()) == []


def test_plain_bytes_on_a_tls_port_are_no_message(secured: Alliance, keys: Path, door: Door) -> None:
    port = door(secured, tls(keys))
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        ask(port, oru(1, 1))
    assert secured.run(secured.gateway.inbox.messages.entries()) == []


def test_plain_lines_are_for_loopback_and_listed_addresses() -> None:
    given = Mllp(allow="10.1.0.0/16, 192.168.3.7")
    known = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.200.3", "192.168.3.7", "::ffff:10.1.0.9")
    assert all(allowed(one, given) for one in known)
    assert not any(allowed(one, given) for one in ("10.2.0.1", "192.168.3.8", "fe80::1", "", "x"))


def test_settings_that_would_open_a_plain_port_to_everybody_stop_the_start(tmp_path: Path, keys: Path) -> None:
    from gateway.app import _refuse_unsafe

    settings = load(None, {"GATEWAY_MLLP_HOST": "0.0.0.0"})
    with pytest.raises(ConfigError):
        _refuse_unsafe(settings)
    _refuse_unsafe(replace(settings, mllp=replace(tls(keys), host="0.0.0.0")))


# ---- acknowledgements ------------------------------------------------------------------------------
def with_wishes(message: bytes, accept: str, application: str) -> bytes:
    head, rest = message.split(b"\r", 1)
    fields = head.split(b"|") + [b""] * 20
    fields[14], fields[15] = accept.encode(), application.encode()
    return b"|".join(fields[:18]) + b"\r" + rest


async def _frames(port: int, message: bytes, count: int) -> list[bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x0b" + message + b"\x1c\r")
    found = [(await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 30))[1:-2] for _ in range(count)]
    writer.close()
    return found


def frames(port: int, message: bytes, count: int) -> list[bytes]:
    return asyncio.run(_frames(port, message, count))


def test_enhanced_mode_accepts_first_and_says_later_what_came_of_it(empty: Alliance) -> None:
    accept, application = frames(empty.gateway.mllp_port, with_wishes(oru(1, 1), "AL", "AL"), 2)
    assert b"MSA|CA|T00000001" in accept and b"MSA|AA|T00000001" in application


def test_enhanced_mode_answers_only_what_was_asked_for(empty: Alliance) -> None:
    port = empty.gateway.mllp_port
    (only,) = frames(port, with_wishes(oru(1, 1), "NE", "AL"), 1)
    assert b"MSA|AA|T00000001" in only
    silent, loud = with_wishes(oru(2, 1), "ER", "NE"), with_wishes(oru(3, 1), "AL", "NE")
    answers = frames(port, silent + b"\x1c\r\x0b" + loud, 1)
    assert b"MSA|CA|T00000003" in answers[0]


def test_enhanced_mode_refuses_with_ce_or_cr(empty: Alliance) -> None:
    stranger = with_wishes(oru(1, 1), "ER", "").replace(b"|ESB|CITY1|", b"|X|Y|")
    assert b"MSA|C" in frames(empty.gateway.mllp_port, stranger, 1)[0]


def test_what_came_of_the_messages_of_a_batch_is_said_in_a_batch(empty: Alliance) -> None:
    head = b"BHS|^~\\&|ESB|CITY1|GW|YLT|20260320||||B78\r"
    told = b"".join(with_wishes(oru(number, number), "AL", wish) for number, wish in ((1, "AL"), (2, "ER"), (3, "AL")))
    accept, application = frames(empty.gateway.mllp_port, head + told + b"BTS|3\r", 2)
    assert accept.count(b"MSA|CA|") == 3 and accept.endswith(b"BTS|3\r")
    said = [row for row in application.decode().split("\r") if row[:3] in ("MSA", "BTS")]
    assert said == ["MSA|AA|T00000001", "MSA|AA|T00000003", "BTS|2"]


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Alliance]:
    """The city hospital waits for the outcome of each message."""
    yield from _acknowledging(tmp_path, "processed")


def test_a_source_that_waits_for_processing_is_told_what_failed(patient: Alliance) -> None:
    assert b"MSA|AA|T00000001" in patient.mllp(oru(1, 1))
    assert patient.person(card(1))  # already there: no drain
    nameless = oru(2, 1).replace(b"|R00000002", b"|").replace(b"|A00000002|", b"||")
    answer = patient.mllp(nameless)
    assert b"MSA|AE|T00000002" in answer and b"GW-TRN-002" in answer


@pytest.fixture
def insisting(tmp_path: Path) -> Iterator[Alliance]:
    """A source whose system repeats for ever on anything but AA."""
    yield from _acknowledging(tmp_path, "always_aa")


def _acknowledging(tmp_path: Path, when: str) -> Iterator[Alliance]:
    """An alliance whose city hospital is acknowledged by this policy."""
    member = tmp_path / "maps" / "city_first_hospital"
    member.mkdir(parents=True)
    written = Path("mappings/city_first_hospital/source.yaml").read_text(encoding="utf-8")
    changed = written.replace("    format: v2\n", f"    format: v2\n    ack: {when}\n", 1)
    (member / "source.yaml").write_text(changed, encoding="utf-8")
    made = Alliance(tmp_path / "home", mappings=tmp_path / "maps")
    yield made
    made.close()


def test_a_source_that_always_wants_aa_gets_it(insisting: Alliance) -> None:
    assert b"MSA|AA|T00000001" in insisting.mllp(oru(1, 1))
    answer = insisting.mllp(oru(2, 2, control="T00000001"))
    assert b"MSA|AA|T00000001" in answer and b"ERR|" not in answer
    insisting.drain()
    entries = insisting.run(insisting.gateway.inbox.messages.entries())
    assert [one.reason for one in entries] == ["GW-INB-005", ""], "kept apart all the same"


# ---- batches, limits -------------------------------------------------------------------------------
def test_a_batch_is_answered_message_by_message_in_one_frame(empty: Alliance) -> None:
    unknown = oru(2, 2).replace(b"|ESB|CITY1|", b"|X|Y|")
    head = b"FHS|^~\\&|ESB|CITY1|GW|YLT|20260320|||||F1\rBHS|^~\\&|ESB|CITY1|GW|YLT|20260320||||B77\r"
    answer = empty.mllp(head + oru(1, 1) + unknown + oru(3, 3) + b"BTS|3\rFTS|1\r")
    rows = answer.decode().split("\r")
    assert rows[0].startswith("BHS|^~\\&|GW|YLT|ESB|CITY1|") and rows[0].split("|")[11] == "B77"
    assert [row.split("|")[1] for row in rows if row.startswith("MSA")] == ["AA", "AR", "AA"]
    assert rows[-2] == "BTS|3"
    empty.drain()
    assert empty.person(card(1)) and empty.person(card(3))


def test_several_lines_of_one_source_are_served_side_by_side(empty: Alliance) -> None:
    async def all_at_once() -> list[list[bytes]]:
        port = empty.gateway.mllp_port
        return await asyncio.gather(*(send("127.0.0.1", port, [oru(n, n, items=1)]) for n in range(1, 9)))

    answers = asyncio.run(all_at_once())
    assert all(b"MSA|AA" in one[0] for one in answers)


def test_lines_above_the_limit_of_an_address_are_refused_and_free_again_afterwards(empty: Alliance, door: Door) -> None:
    port = door(empty, Mllp(connections_per_address=1))

    async def two() -> bytes:
        _, first = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.1)
        reader, second = await asyncio.open_connection("127.0.0.1", port)
        got = await asyncio.wait_for(reader.read(1), 10)
        first.close()
        second.close()
        return got

    assert asyncio.run(two()) == b""
    for _ in range(50):
        try:
            assert b"MSA|AA" in ask(port, oru(1, 1))[0]
            break
        except (OSError, asyncio.IncompleteReadError):
            continue
    else:
        raise AssertionError("the place was not free again")


def test_a_silent_line_is_hung_up_and_a_fast_one_slowed_without_loss(empty: Alliance, door: Door) -> None:
    port = door(empty, Mllp(idle_s=0.2, rate=3))

    async def silent() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        got = await asyncio.wait_for(reader.read(1), 10)
        writer.close()
        return got

    assert asyncio.run(silent()) == b""
    port = door(empty, Mllp(rate=3))
    answers = ask(port, *(oru(n, 1, items=1) for n in range(1, 8)))
    assert all(b"MSA|AA" in one for one in answers)


def test_a_full_inbox_asks_the_sender_to_come_again_and_never_refuses_for_good(empty: Alliance) -> None:
    empty.gateway.inbox._waiting_limit = -1
    answer = empty.mllp(oru(1, 1))
    assert b"MSA|AE|T00000001" in answer and InboxFull.code.encode() in answer
    empty.gateway.inbox._waiting_limit = 20_000
    assert b"MSA|AA|T00000001" in empty.mllp(oru(1, 1))


def _kept_at_last(alliance: Alliance) -> Entry:
    """What is kept of a line that was hung up on: the sender sees that first."""
    until = time.monotonic() + 10
    while not (entries := alliance.run(alliance.gateway.inbox.messages.entries(limit=5))):
        assert time.monotonic() < until
        time.sleep(0.01)
    (kept,) = entries
    return kept


def test_a_frame_that_drips_is_hung_up_and_kept_and_a_steady_one_may_take_longer(empty: Alliance, door: Door) -> None:
    port = door(empty, Mllp(frame_s=0.4))
    message = b"\x0b" + oru(1, 1) + b"\x1c\r"

    async def sent(pieces: list[bytes], pause_s: float) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.ensure_future(reader.read(65536))
        for piece in pieces:
            if answer.done():
                break
            writer.write(piece)
            await asyncio.sleep(pause_s)
        got = await asyncio.wait_for(answer, 10)
        writer.close()
        return got

    assert asyncio.run(sent([message[n : n + 1] for n in range(100)], 0.05)) == b""
    kept = _kept_at_last(empty)
    assert kept.reason == BrokenFrame.code and kept.size < 100
    large = b"\x0b" + oru(2, 2, items=600) + b"\x1c\r"  # some 40 KB, faster than the least rate, slower than frame_s
    step = len(large) // 10
    assert b"MSA|AA" in asyncio.run(sent([large[n : n + step] for n in range(0, len(large), step)], 0.1))
