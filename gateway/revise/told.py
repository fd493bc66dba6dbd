"""What was told about a resource, and when: the later statement of each element wins, in whatever order messages come.

Pure. Every head resource remembers in `meta` when its newest message was written; one that is told piece by piece
(an HL7 v2 update leaves what it does not repeat) also remembers which elements were told at another time, which were
deleted and which nobody has told yet. A repeated statement makes no version and so does not move its time.
Source: HL7 v2.5.1 §2.5.3 (an empty field says nothing, `""` deletes); FHIR R4 Meta.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..model import systems
from ..model.message import DraftResource
from ..model.resource import Json
from ..model.times import instant_text, parse_fhir
from .version import bare

_NEVER = datetime(1, 1, 2, tzinfo=UTC)
"""When an element was told that only stands there because R4 wants it."""
_SOMETIME = datetime(1, 1, 3, tzinfo=UTC)
"""When what has no time was told."""
_IN_PARTS = ("period", "hospitalization", "servicePeriod", "dispenseRequest")
"""Elements whose members are told one by one."""
_BY_TYPE = ("participant",)
"""Lists whose entries are told one by one where each has a type of its own, as the doctors of a visit."""
_FIXED = ("resourceType",)


@dataclass(frozen=True, slots=True)
class Told:
    """A resource after one more message. `body`: with resourceType and id, without meta. `meta`: its extensions.

    late: a newer message had told of it before. deletes: it deletes what nobody told of before, which shows in `meta`
    alone and keeps out what was written earlier and comes later.
    """

    body: Json
    meta: Json
    late: bool = False
    deletes: bool = False


def said_at_of(body: Json) -> datetime | None:
    """When the newest message about a stored resource was written."""
    for one in body.get("meta", {}).get("extension", ()):
        if one.get("url") == systems.EXT_SAID_AT:
            return parse_fhir(one["valueInstant"])
    return None


def said_meta(said_at: datetime | None) -> Json:
    """Members for the meta of a resource all of which was told at one time."""
    if said_at is None:
        return {}
    return {"extension": [{"url": systems.EXT_SAID_AT, "valueInstant": instant_text(said_at)}]}


def first_meta(one: DraftResource, said_at: datetime | None) -> Json:
    """The meta of a resource nobody told of before: what its message left out stands there untold.

    Also what it deletes is remembered: a message written before it must not bring that in.
    """
    if said_at is None or not (one.left or one.gone):
        return said_meta(said_at)
    slots = [slot for slot, _ in _slots(one.json)]
    untold = {slot: _NEVER for slot in slots if _named(slot, one.left)}
    return _meta(said_at, untold | dict.fromkeys(set(one.gone or ()).difference(slots), said_at))


def _of_another(old: Json, new: Json) -> bool:
    """True when what is stored under an id is about another Patient: a number given anew, or filed wrong before."""
    mine, theirs = _about(old), _about(new)
    return bool(mine and theirs) and mine != theirs


def _about(body: Json) -> str:
    found = (body.get(key) for key in ("subject", "patient", "beneficiary"))
    return next((str(one.get("reference", "")) for one in found if isinstance(one, dict)), "")


def told(old: Json, one: DraftResource, said_at: datetime | None, *, carried: bool = False) -> Told:
    """The stored resource after the message: what it tells later than it was told before, and what it deletes.

    A resource told whole (`gone` is None) replaces an older one, or changes nothing when it is late. So does one about
    another Patient, of whom nothing is true that was told of the first; but for a visit that is `carried` to them.
    """
    newest = said_at_of(old)
    late = newest is not None and said_at is not None and said_at < newest
    if not carried and _of_another(old, one.json):
        kept = {"extension": old.get("meta", {}).get("extension", [])}
        return Told(_plain(old), kept, late) if late else Told(_plain(one.json), first_meta(one, said_at))
    if one.gone is None and not (late and _in_pieces(old)):
        return Told(_plain(old) if late else _plain(one.json), said_meta(newest if late else said_at), late)
    at = said_at or newest or _SOMETIME  # without a time of its own it counts as it arrives
    times = _times(old, newest or _SOMETIME)
    slots, deletes = dict(_slots(old)), False
    for slot, value in _statements(one, slots):
        when = _NEVER if value is not None and _named(slot, one.left) else at
        before = times.get(slot) or times.get(slot.partition(".")[0])
        deletes |= before is None and value is None
        if before is None or (when > _NEVER and when >= before):
            times[slot] = when
            slots.pop(slot, None) if value is None else slots.__setitem__(slot, value)
    latest = max(at, newest or at)
    apart = {slot: when for slot, when in times.items() if when != latest or slot not in slots}
    meta = _meta(latest, apart) if said_at or newest else {}
    return Told(_whole(slots, old | one.json), meta, late, deletes)


def _statements(one: DraftResource, known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(slot, value) of everything a message tells; None for what it deletes."""
    said = dict(_slots(one.json))
    yield from said.items()
    if one.gone is None:
        yield from ((slot, None) for slot in known if slot not in said)
    for path in one.gone or ():
        inside = [slot for slot in known if slot.startswith(f"{path}.")]
        yield from ((slot, None) for slot in inside or (path,) if slot not in said)


def _slots(body: Json) -> Iterator[tuple[str, Any]]:
    """The units in which a resource changes: its elements, members of some one by one."""
    for key, value in bare(body).items():
        if key in _IN_PARTS and isinstance(value, dict):
            yield from ((f"{key}.{inner}", deeper) for inner, deeper in value.items())
        elif key in _BY_TYPE and (by_type := _by_type(value)):
            yield from ((f"{key}.{type_}", entry) for type_, entry in by_type.items())
        elif key not in _FIXED:
            yield key, value


def _by_type(entries: Any) -> Json:
    """The entries of a list by the code of their type; none where one has none or shares it."""
    found: Json = {}
    for entry in entries:
        for coding in entry.get("type", [{}])[0].get("coding", ())[:1]:
            found[coding.get("code", "")] = entry
    return found if len(found) == len(entries) and "" not in found else {}


def _whole(slots: Mapping[str, Any], order: Json) -> Json:
    """The slots as a resource, elements in the order given."""
    made: Json = {"resourceType": order["resourceType"], "id": order["id"]}
    for key in order:
        if key in slots:
            made[key] = slots[key]
        elif key in (*_IN_PARTS, *_BY_TYPE) and (inner := _inner(slots, key)):
            made[key] = [inner[type_] for type_ in sorted(inner, key=_attending_first)] if key in _BY_TYPE else inner
    return made


def _attending_first(type_: str) -> tuple[bool, str]:
    return type_ != "ATND", type_


def _inner(slots: Mapping[str, Any], key: str) -> Json:
    return {slot.removeprefix(f"{key}."): value for slot, value in slots.items() if slot.startswith(f"{key}.")}


def _plain(body: Json) -> Json:
    return {key: value for key, value in body.items() if key != "meta"}


def _named(slot: str, names: tuple[str, ...]) -> bool:
    return slot in names or slot.partition(".")[0] in names


# ---- in meta ---------------------------------------------------------------------------------
def _in_pieces(old: Json) -> bool:
    return any(one.get("url") == systems.EXT_TOLD for one in old.get("meta", {}).get("extension", ()))


def _times(old: Json, newest: datetime) -> dict[str, datetime]:
    """When each element was told; also those deleted since."""
    times = {slot: newest for slot, _ in _slots(old)}
    for one in old.get("meta", {}).get("extension", ()):
        if one.get("url") == systems.EXT_TOLD:
            parts = {part["url"]: part for part in one["extension"]}
            when = parse_fhir(parts["at"]["valueInstant"]) if "at" in parts else _NEVER
            times |= dict.fromkeys(parts["elements"]["valueString"].split(" "), when)
    return times


def _meta(newest: datetime, apart: Mapping[str, datetime]) -> Json:
    by_time: dict[datetime, list[str]] = {}
    for slot, when in sorted(apart.items()):
        by_time.setdefault(when, []).append(slot)
    made = [_group(when, slots) for when, slots in sorted(by_time.items())]
    return {"extension": [*said_meta(newest)["extension"], *made]}


def _group(when: datetime, slots: list[str]) -> Json:
    at = [{"url": "at", "valueInstant": instant_text(when)}] if when > _NEVER else []
    elements = {"url": "elements", "valueString": " ".join(slots)}
    return {"url": systems.EXT_TOLD, "extension": [*at, elements]}
