"""What every door does with the bytes it got: find the source, keep them, say what became of them.

No clinical knowledge here: a door only peeks at the envelope (who sends, which id, which kind).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from ..errors import (
    ControlIdReused,
    GatewayError,
    MissingField,
    NotYetProcessed,
    TooLarge,
    TranslateError,
    UnknownSource,
    UnknownTrigger,
    WrongCertificate,
    WrongInstance,
)
from ..inbox.queue import Arrival, Inbox, Kept
from ..model.directory import Source
from ..model.outcome import Outcome, State
from ..model.times import Clock
from ..security import redact
from ..translate.charset import known_name
from ..translate.engine import Mappings
from ..translate.read_v2 import Peek, ack, peek_v2, split_batch
from .answers import accept_code, batch_ack, enhanced, fault_of, is_batch, owed
from .lines import Line

BODY_LIMIT = 16 * 1024 * 1024
NOTHING = Kept("")
"""What is in the inbox of bytes it could not take."""
_HEAD = 64 * 1024  # what is kept of a body above the limit
_PATIENCE_S = 20.0  # how long a sender waits for the outcome
Look = Callable[[str], Awaitable[bytes | None]]
"""The outcome of a message as JSON, None while it is open."""
Ask = Callable[[bytes, Peek, Source], Awaitable[tuple[bytes, GatewayError | None]]]
"""Answers a query: the response message, and what was wrong with the query."""
QUERIES = ("QBP^Q22", "QBP^Q23", "QCN^J01")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender is told. `ack` is the HL7 v2 answer, in the sender's charset, for v2 only; b"" when none is owed.

    later: the application acknowledgement that follows it in enhanced mode, once the message is processed.
    """

    kept: Kept
    error: GatewayError | None = None
    ack: bytes = b""
    later: Awaitable[bytes] | None = None


class Intake:
    """The way from any door into the inbox."""

    def __init__(
        self, inbox: Inbox, mappings: Mappings, clock: Clock, outcome: Look | None = None, ask: Ask | None = None
    ) -> None:
        self._inbox = inbox
        self._ask = ask
        self._outcome = outcome
        self._mappings = mappings
        self._clock = clock

    async def v2(self, body: bytes, source: Source | None = None, name: str = "", line: Line | None = None) -> Receipt:
        """Keep one v2 message or a batch; the answer is ready when the bytes are on disk, or processed where asked.

        line: the MLLP connection it came over, whose certificate must be the sender's.
        """
        if is_batch(body):
            return await self._batch(body, source, name, line)
        try:
            peek = peek_v2(body)
        except GatewayError as fault:
            return await self.broken(body, fault, source, name)
        source = source or self._mappings.directory.sender(peek.msh3, peek.msh4)
        if body.isascii() and (codec := _told_charset(peek, source)):
            peek = replace(peek, charset=codec)
        if source is not None and self._ask and peek.kind in QUERIES and not _sender_fault(peek, source, line):
            answer, wrong = await self._ask(body, peek, source)  # no message to keep: what it asked is in the audit
            return Receipt(NOTHING, wrong, answer)
        error = self._v2_fault(peek, source, line)
        arrival = Arrival(
            source=source.name if source else "",
            format="v2",
            body=body,
            at=self._clock(),
            control=peek.control_id if source and source.control_id == "trusted" else "",
            name=name,
            content=_without_time(body, peek),
            refused=error.code if error else "",
            outcome=_refusal(error),
        )
        try:
            kept = await self._inbox.keep(arrival)
        except GatewayError as fault:  # nothing was kept, so whatever the source expects, it is told to send again
            code = accept_code(fault.ack[0]) if enhanced(peek) else fault.ack[0]
            return Receipt(NOTHING, fault, ack(peek, code, fault, self._clock()))
        if kept.clash and error is None:
            error = ControlIdReused("MSH-10")
        return await self._receipt(peek, source, kept, error)

    async def _batch(self, body: bytes, source: Source | None, name: str, line: Line | None) -> Receipt:
        """Every message kept by itself; one answer for all, in their order."""
        parts = split_batch(body)
        if len(parts) == 1:
            start = body.find(b"MSH")
            if start < 0:  # a batch of nothing, or in a charset of two bytes a letter
                fault = TranslateError("MSH", "no message in this batch", detail_zh="批里没有消息。")
                return await self.broken(body, fault, source, name)
            parts = [body[start:]]
        receipts = [await self.v2(part, source, name, line) for part in parts]
        error = next((one.error for one in receipts if one.error), None)
        acks = [one.ack for one in receipts if one.ack]
        owed = [one.later for one in receipts if one.later is not None]
        later = self._batch_later(body, owed) if owed else None
        return Receipt(receipts[0].kept, error, batch_ack(body, acks, self._clock()), later)

    async def _batch_later(self, body: bytes, owed: Sequence[Awaitable[bytes]]) -> bytes:
        """The application acknowledgements of a batch, in their order, in one batch again."""
        acks = [said for one in owed if (said := await one)]
        return batch_ack(body, acks, self._clock()) if acks else b""

    async def _receipt(self, peek: Peek, source: Source | None, kept: Kept, error: GatewayError | None) -> Receipt:
        if enhanced(peek):
            return self._enhanced(peek, kept, error)
        if source is not None and source.ack == "processed" and error is None:
            error = await self._fault(kept.key)
        return Receipt(kept, error, self._answer(peek, source, error))

    def _enhanced(self, peek: Peek, kept: Kept, error: GatewayError | None) -> Receipt:
        """CA, CE or CR now where MSH-15 asks for it; AA, AE or AR after processing where MSH-16 does."""
        code = accept_code(error.ack[0] if error else "AA")
        now = ack(peek, code, error, self._clock()) if owed(peek.accept, good=error is None) else b""
        later = self._application(peek, kept, error) if peek.application not in ("", "NE") else None
        return Receipt(kept, error, now, later)

    async def _application(self, peek: Peek, kept: Kept, error: GatewayError | None) -> bytes:
        fault = error or await self._fault(kept.key)
        code = fault.ack[0] if fault else "AA"
        return ack(peek, code, fault, self._clock()) if owed(peek.application, good=fault is None) else b""

    async def _fault(self, key: str) -> GatewayError | None:
        """What processing found wrong; NotYetProcessed when it takes longer than a sender waits."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_S
        while self._outcome is not None and loop.time() < until:
            found = await self._outcome(key)
            if found is not None:
                return fault_of(found)
            await asyncio.sleep(0.02)
        return NotYetProcessed()

    async def broken(self, body: bytes, fault: GatewayError, source: Source | None = None, name: str = "") -> Receipt:
        """Keep bytes no reader could make sense of, quarantined, and refuse them."""
        large = len(body) > BODY_LIMIT
        peek = Peek.of_broken(envelope(body))  # the sender may still learn which message it was
        arrival = Arrival(
            source=source.name if source else "",
            format=source.format if source else "v2",
            body=body[:_HEAD] if large else body,
            at=self._clock(),
            name=name,
            refused=fault.code,
            outcome=_refusal(fault),
        )
        try:
            kept = await self._inbox.keep(arrival)
        except GatewayError as full:
            return Receipt(NOTHING, full, ack(peek, full.ack[0], full, self._clock()))
        return Receipt(kept, fault, ack(peek, fault.ack[0], fault, self._clock()))

    async def push(self, source: Source, body: bytes, name: str = "", *, content: bytes | None = None) -> Receipt:
        """Keep one body of any format for a named source.

        content: what the same body counts as another message by, where its sender knows better; not for v2.
        """
        format_ = self._mappings.sniff(body) if source.format == "any" else source.format
        if len(body) > BODY_LIMIT:
            return await self.broken(body, TooLarge(detail=f"{len(body)} > {BODY_LIMIT}"), source, name)
        if format_ == "v2":
            return await self.v2(body, source, name)
        control = self._mappings.document_id(body, format_) if source.control_id == "trusted" else ""
        body = self._mappings.kept(body, format_)
        arrival = Arrival(source.name, format_, body, self._clock(), control=control, name=name, content=content)
        kept = await self._inbox.keep(arrival)
        return Receipt(kept, ControlIdReused() if kept.clash else None)

    async def instance(self, source: Source, body: bytes, sop_class: str, instance: str) -> Receipt:
        """Keep the header of one image that came with the UIDs of a C-STORE command."""
        try:
            found = self._mappings.instance_of(body)
        except GatewayError as fault:
            return await self.broken(body, TooLarge() if len(body) > BODY_LIMIT else fault, source, instance)
        if found != (sop_class, instance):
            return await self.broken(body, WrongInstance("SOPInstanceUID, SOPClassUID"), source, instance)
        return await self.push(source, body, instance)

    async def settled(self, key: str) -> None:
        """Returns once a kept message has an outcome, however long that takes."""
        while (entry := await self._inbox.messages.entry(key)) is not None and entry.state is State.RECEIVED:
            await asyncio.sleep(0.02)

    def _v2_fault(self, peek: Peek, source: Source | None, line: Line | None) -> GatewayError | None:
        if source is None:
            return _unknown_sender(peek)
        if fault := _sender_fault(peek, source, line):
            return fault
        if not self._mappings.serves(source, peek.kind, peek.structure):
            return UnknownTrigger("MSH-9", peek.kind)
        return None

    def _answer(self, peek: Peek, source: Source | None, error: GatewayError | None) -> bytes:
        code = error.ack[0] if error else "AA"
        if source is not None and source.ack == "always_aa":
            code, error = "AA", None
        return ack(peek, code, error, self._clock())


def envelope(body: bytes) -> bytes:
    """So much of what is no message as tells whose it was and in which charset."""
    return body if len(body) <= _HEAD else body[:_HEAD].rpartition(b"\r")[0] or body[:_HEAD]


def _told_charset(peek: Peek, source: Source | None) -> str:
    """What the sender of plain ASCII reads: the charset its source was given, else the one MSH-18 declares; or ""."""
    told = (known_name(one) for one in (source.charset if source else "", peek.declared))
    codec = next(filter(None, told), "")
    return codec if codec in ("gb18030", "big5") else ""  # others are UTF-8 already, or have no Chinese


def _unknown_sender(peek: Peek) -> UnknownSource:
    """Says what stood in the two fields, shortened and masked: fields that have shifted may hold anything."""
    msh3, msh4 = (redact.text(field)[:40] for field in (peek.msh3, peek.msh4))
    zh = f"收到的 MSH-3 是“{msh3}”，MSH-4 是“{msh4}”。"
    return UnknownSource("MSH-3, MSH-4", f"MSH-3 is {msh3!r}, MSH-4 is {msh4!r}", detail_zh=zh)


def _sender_fault(peek: Peek, source: Source, line: Line | None) -> GatewayError | None:
    """What is wrong with who sends, whatever is sent."""
    if line is not None and not line.may_speak_for(source.settings.get("certificate", "")):
        return WrongCertificate("MSH-3, MSH-4")
    return None if peek.control_id else MissingField("MSH-10")


def _without_time(body: bytes, peek: Peek) -> bytes:
    """MSH-7 cut out, line ends evened: a resend with a new clock or through another tool is still the same message."""
    body = body.replace(b"\r\n", b"\r").replace(b"\n", b"\r").strip(b"\r\x00 ")
    end = body.find(b"\r")
    head = body[: end if end > 0 else None].split(peek.separators[:1].encode("latin-1"), 8)
    if len(head) < 8:
        return body
    digest = hashlib.blake2b(b"|".join(head[:6] + head[7:]), digest_size=16)
    digest.update(body[end:] if end > 0 else b"")
    return digest.digest()


def _refusal(error: GatewayError | None) -> str:
    if error is None:
        return ""
    outcome = Outcome("", State.QUARANTINED, findings=(error.finding(),))
    return msgspec.json.encode(outcome).decode()
