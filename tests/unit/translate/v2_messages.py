"""HL7 v2 messages for tests: what matters is given, the rest is filled in."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from gateway.model.ids import Ids
from gateway.model.message import Draft, RawMessage
from gateway.model.resource import Json
from gateway.model.times import CHINA
from gateway.shipped import shipped
from gateway.translate.engine import Mappings

NOW = datetime(2026, 3, 20, 9, 0, tzinfo=CHINA)
IDS = Ids(b"test" * 8)
MSH = "MSH|^~\\&|LIS|H1|GW|ALL|20260320083000||{kind}|C1|P|2.5.1||||||UNICODE UTF-8"
PID = "PID|1||A1^^^H1^MR||张三||19800101|M"


@cache
def mappings() -> Mappings:
    """The shipped maps, each compiled when first used."""
    return Mappings.load([shipped("mappings")], check=False)


def message(*segments: str, kind: str = "ORU^R01", msh: str = MSH) -> str:
    """MSH and the segments, CR between."""
    return "\r".join([msh.replace("{kind}", kind), *segments, ""])


def oru(*obx: str, obr: str = "OBR|1|S1|R1|SH^生化^L|||20260320073000", pid: str = PID) -> str:
    """A laboratory report of one order with these OBX (or NTE, SPM, …) below it."""
    return message(pid, obr, *obx)


def segment(name: str, fields: dict[int, str]) -> str:
    """A segment with these fields by number."""
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


def draft(text: str | bytes, source: str = "sandbox", *, now: datetime = NOW) -> Draft:
    """What the message says."""
    body = text.encode() if isinstance(text, str) else text
    known = mappings()
    return known.translate(RawMessage("k1", source, "v2", body, now), known.directory.sources[source], IDS, now)


def resources(text: str | bytes, type_: str, source: str = "sandbox") -> list[Json]:
    """The message's resources of one type, in order."""
    return [one.json for one in draft(text, source).resources if one.type == type_]


def item(obx: str) -> Json:
    """The Observation one OBX makes."""
    (found,) = resources(oru(obx), "Observation")
    return found


def patient(pid: str) -> Json:
    """The source record a PID makes."""
    return draft(message(pid, kind="ADT^A08")).records[0].patient


def lost(text: str | bytes) -> list[str]:
    """Places of populated fields without a reason."""
    return [one.place for one in draft(text).unused if one.lost]
