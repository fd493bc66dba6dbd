"""One pasted text translated with its trace; nothing is kept. The same steps as `gateway try`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ...errors import GatewayError
from ...model.directory import Source
from ...model.ids import Ids
from ...model.message import Draft, RawMessage
from ...model.outcome import Finding
from ...translate.charset import known_name
from ...translate.engine import Mappings
from ...translate.read_v2 import Peek, ack, peek_v2, split_batch
from ...translate.run import Trace
from ...validate.structure import check_draft

_KEY = b"console try: ids lead nowhere"


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of it. draft None: it could not be translated, `findings` say why and where.

    others: messages of a pasted batch beside the first one, which alone is tried.
    """

    raw: RawMessage
    source: Source
    draft: Draft | None
    traces: tuple[Trace, ...]
    findings: tuple[Finding, ...]
    faults: tuple[str, ...]
    ack: str
    ack_code: str
    peek: Peek | None
    others: int


def as_sent(text: str, form: str, charset: str) -> bytes:
    """The bytes the sender would have sent: CR between segments, in the charset chosen or declared.

    A charset that lacks one of the characters is not used: UTF-8 is.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    plain = lines.replace("\n", "\r") if form == "v2" else lines
    codec = known_name(charset) or _declared(plain, form) or "utf-8"
    try:
        return plain.encode(codec)
    except UnicodeEncodeError:
        return plain.encode("utf-8", "replace")


def _declared(text: str, form: str) -> str:
    if form == "v2":
        fields = text.partition("\r")[0].split("|")
        return known_name(fields[17].partition("~")[0]) if len(fields) > 17 else ""
    return ""


def form_of(source: Source, text: str) -> str:
    """The format a source sends, or what the text looks like."""
    return Mappings.sniff(text.encode("utf-8", "replace")) if source.format == "any" else source.format


def try_text(mappings: Mappings, source: Source, text: str, charset: str, now: datetime) -> Tried:
    """Translate, check, acknowledge. Never raises for what the text holds."""
    form = form_of(source, text)
    body = as_sent(text, form, charset or ("" if source.charset == "auto" else source.charset))
    bodies = split_batch(body) if form == "v2" else [body]
    raw = RawMessage("m0", source.name, form, bodies[0], now)
    fault: GatewayError | None = None
    draft: Draft | None = None
    traces: tuple[Trace, ...] = ()
    try:
        draft, found = mappings.trace(raw, source, Ids(_KEY), now)
        traces = tuple(found)
        check_draft(draft)
    except GatewayError as error:
        fault = error
    faults = _faults(fault)
    findings = (*faults, *(draft.findings if draft else ()))
    peek, answer, code = _acknowledged(bodies[0], fault, now) if form == "v2" else (None, "", "")
    places = tuple(one.place for one in faults)
    return Tried(raw, source, draft, traces, findings, places, answer, code, peek, len(bodies) - 1)


def _faults(fault: GatewayError | None) -> tuple[Finding, ...]:
    if fault is None:
        return ()
    return tuple(getattr(fault, "findings", ()) or (fault.finding(),))


def _acknowledged(body: bytes, fault: GatewayError | None, now: datetime) -> tuple[Peek, str, str]:
    try:
        peek = peek_v2(body)
    except GatewayError as error:
        peek, fault = Peek.of_broken(body), error
    code = fault.ack[0] if fault else "AA"
    return peek, ack(peek, code, fault, now).decode(peek.charset, "replace"), code
