"""batch and transaction: entries decoded one by one, a transaction committed as one plan.

Order of a transaction is DELETE, POST, PUT, GET whatever the order of its entries. Temporary addresses
(`urn:uuid:…`) and conditional references are replaced before anything is checked. Source: FHIR R4 http.html §3.1.0.11.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from ..errors import (
    BadParameter,
    BadReference,
    Conflict,
    GatewayError,
    NotSupported,
    PreconditionFailed,
    TooCostly,
    TooLarge,
    Unparseable,
    UnsupportedMedia,
)
from ..model import systems
from ..model.ids import Ids
from ..model.resource import dumps
from ..model.rest import FHIR_JSON, Answer, Call, etag, is_json
from ..model.times import instant_text
from ..store.base import Committed
from .fhir_change import TRIES, Change, Changes, permit

MAX_ENTRIES = 5000
_ADDRESS = re.compile(rb'"(reference|url|uri|value(?:Uri|Url|Uuid|Oid|Canonical))"\s*:\s*"([^"\\]{1,2048})"')
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "GET": 3, "HEAD": 3}
_TURN = 32  # entries worked on before other requests get their turn


class _Request(msgspec.Struct):
    method: str = ""
    url: str = ""
    ifMatch: str = ""
    ifNoneExist: str = ""
    ifNoneMatch: str = ""


class _Entry(msgspec.Struct):
    fullUrl: str = ""
    resource: msgspec.Raw = msgspec.Raw(b"")
    request: _Request | None = None


class _Bundle(msgspec.Struct):
    resourceType: str = ""
    type: str = ""
    entry: list[_Entry] = []


_bundles = msgspec.json.Decoder(_Bundle)


@dataclass(frozen=True, slots=True)
class Target:
    """What one entry is about; the shape `fhir_write.Aim` asks for."""

    name: str
    type: str
    id: str = ""


@dataclass(slots=True)
class _Step:
    """One entry on its way: its number in the Bundle, its call, and what it became."""

    number: int
    method: str
    full_url: str
    call: Call
    target: Target
    change: Change | None = None


async def process(changes: Changes, call: Call) -> Answer:
    """The answer to `POST /fhir`: batch-response or transaction-response. Raises GatewayError for a transaction."""
    if not is_json(call.header("content-type") or FHIR_JSON):
        raise UnsupportedMedia("Content-Type")
    bundle = _read(call.body)
    if len(bundle.entry) > MAX_ENTRIES:
        raise TooCostly("Bundle.entry", f"more than {MAX_ENTRIES} entries", detail_zh=f"超过 {MAX_ENTRIES} 条。")
    steps = [_step(changes, call, number, entry) for number, entry in enumerate(bundle.entry)]
    if bundle.type == "transaction":
        return await _transaction(changes, call, [_sure(one) for one in steps])
    return await _batch(changes, call, steps)


def _read(body: bytes) -> _Bundle:
    try:
        bundle = _bundles.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unparseable("Bundle") from None
    if bundle.resourceType != "Bundle" or bundle.type not in ("batch", "transaction"):
        raise BadParameter("Bundle.type", "batch or transaction", detail_zh="须为 batch 或 transaction。")
    return bundle


def _step(changes: Changes, call: Call, number: int, entry: _Entry) -> _Step | GatewayError:
    place = f"Bundle.entry[{number}].request"
    request = entry.request
    if request is None or request.method not in (*_ORDER, "PATCH"):
        return BadParameter(place, "method and url are required", detail_zh="缺少 method 或 url。")
    limit = changes.parts.resource_bytes
    if len(memoryview(entry.resource)) > limit:
        return TooLarge(f"Bundle.entry[{number}].resource", f"> {limit} bytes")
    path, _, query = request.url.removeprefix(call.base).strip("/").partition("?")
    target = _target(request.method, path, changes.parts.types)
    if target is None:
        return NotSupported(place, f"{request.method} {path[:80]}")
    headers = {"content-type": FHIR_JSON, "prefer": call.header("prefer"), "accept": FHIR_JSON}
    conditions = {
        "if-match": request.ifMatch,
        "if-none-exist": request.ifNoneExist,
        "if-none-match": request.ifNoneMatch,
    }
    headers |= {name: value for name, value in conditions.items() if value}
    own = replace(call, method=request.method, path=path, query=query, headers=headers, body=bytes(entry.resource))
    return _Step(number, request.method, entry.fullUrl, own, target)


def _target(method: str, path: str, types: frozenset[str]) -> Target | None:
    type_, _, id_ = path.partition("/")
    if method in ("GET", "HEAD"):
        return Target("read", type_, id_)
    if type_ not in types or (id_ and not _ID.fullmatch(id_)):
        return None
    if method == "POST":
        return Target("create", type_) if not id_ else None
    name = {"PUT": "update", "DELETE": "delete"}.get(method)
    return Target(name, type_, id_) if name and id_ else None


def _sure(step: _Step | GatewayError) -> _Step:
    if isinstance(step, GatewayError):
        raise step
    return step


# ---- batch ------------------------------------------------------------------------------------
async def _batch(changes: Changes, call: Call, steps: Sequence[_Step | GatewayError]) -> Answer:
    """Each entry for itself; a refused one leaves the others alone."""
    entries = [await _alone(changes, one) for one in steps]
    return Answer(200, _response("batch-response", entries))


async def _alone(changes: Changes, step: _Step | GatewayError) -> bytes:
    if isinstance(step, GatewayError):
        return _refusal(step)
    if step.target.name == "read":
        return _entry_of(await changes.parts.run(step.call))
    try:
        return _entry_of(await changes.single(step.call, step.target))
    except GatewayError as error:
        await changes.note_refusal(step.call, step.target, error)
        return _refusal(error)


def _refusal(error: GatewayError) -> bytes:
    return dumps({"response": {"status": str(error.http), "outcome": error.operation_outcome()}})


def _entry_of(answer: Answer) -> bytes:
    headers = dict(answer.headers)
    response = {"status": str(answer.status)}
    for name in ("etag", "location"):
        if name in headers:
            response[name] = headers[name]
    if answer.status >= 400:
        return dumps({"response": {**response, "outcome": msgspec.Raw(answer.body)}})
    resource = b'"resource":' + answer.body + b"," if answer.body and "json" in answer.media else b""
    return b"{" + resource + b'"response":' + dumps(response) + b"}"


def _response(kind: str, entries: Sequence[bytes]) -> bytes:
    head = f'{{"resourceType":"Bundle","type":"{kind}"'.encode()
    return head + (b',"entry":[' + b",".join(entries) + b"]}" if entries else b"}")


# ---- transaction ------------------------------------------------------------------------------
async def _transaction(changes: Changes, call: Call, steps: list[_Step]) -> Answer:
    """All or nothing, made again when another write came first."""
    _once(steps)
    for _ in range(TRIES):
        await _planned(changes, call, steps)
        made = tuple(one.change for one in _ordered(steps) if one.change is not None and not one.change.existing)
        try:
            done = await changes.parts.store.commit(changes.whole(call.who, made, "transaction"))
        except Conflict:
            if any(one.call.header("if-match") for one in steps):
                raise PreconditionFailed("Bundle.entry.request.ifMatch") from None
            continue
        entries = {one.number: await _done(changes, one, done) for one in _ordered(steps)}
        return Answer(200, _response("transaction-response", [entries[number] for number in sorted(entries)]))
    raise Conflict("Bundle")


def _ordered(steps: list[_Step]) -> list[_Step]:
    return sorted(steps, key=lambda one: (_ORDER[one.method], one.number))


def _once(steps: list[_Step]) -> None:
    """A resource may be named by one entry only: which of two would win is nobody's to say."""
    seen: set[str] = set()
    for one in steps:
        place = f"{one.target.type}/{one.target.id}"
        if one.target.id and one.target.name != "read":
            if place in seen:
                raise BadParameter(f"Bundle.entry[{one.number}]", f"{place} stands in two entries")
            seen.add(place)


async def _planned(changes: Changes, call: Call, steps: list[_Step]) -> None:
    """Every writing step's change; Patients first, because the others name them."""
    places: dict[str, str] = {}
    cards: dict[str, str] = {}
    writing = [one for one in _ordered(steps) if one.target.name != "read"]
    for one in writing:
        permit(call.who, one.target.type)
    fresh = {one.number: Ids.random() for one in writing if one.target.name == "create"}
    for one in writing:
        if one.target.type == "Patient":
            one.change = _same_card(await _change(changes, one, places, fresh), cards)
            _place(one, places, one.change.place)
        elif one.full_url and one.target.name != "delete":
            _place(one, places, f"{one.target.type}/{one.target.id or fresh[one.number]}")
    for turn, one in enumerate(writing):
        if one.target.type != "Patient":
            one.change = await _change(changes, one, places, fresh)
            if one.change.existing:
                _place(one, places, one.change.place)
        if turn % _TURN == _TURN - 1:
            await asyncio.sleep(0)


def _place(step: _Step, places: dict[str, str], place: str) -> None:
    if step.full_url:
        places[step.full_url] = place


async def _change(changes: Changes, step: _Step, places: dict[str, str], fresh: dict[int, str]) -> Change:
    call = step.call
    if call.body:
        call = replace(call, body=await _resolved(changes, call, places, step.number))
    if step.target.name != "create" or call.header("if-none-exist"):
        return await changes.plan(call, step.target)
    body = await changes.checked(call, step.target.type)
    return await changes.made(call.who, step.target.type, fresh[step.number], body, expect=0)


def _same_card(change: Change, cards: dict[str, str]) -> Change:
    """Two Patients of one Bundle with the same verified card are one person: the first."""
    claimed = [value for type_, system, value in change.resolution.unclaimed if system == systems.ID_CARD]
    first = next((cards[value] for value in claimed if value in cards), "")
    for value in claimed:
        cards.setdefault(value, change.place)
    if not first:
        return change
    person = first.removeprefix("Patient/")
    records = tuple(replace(one, patient=person) for one in change.resolution.records)
    kept = replace(change.resolution, records=records, resources=(), unclaimed=())
    return replace(change, place=first, resolution=kept, patients=(person,), known=True)


async def _resolved(changes: Changes, call: Call, places: dict[str, str], number: int) -> bytes:
    """The body with temporary addresses and conditional references replaced by what they stand for."""
    conditional = {
        match[2].decode()
        for match in _ADDRESS.finditer(call.body)
        if match[1] == b"reference" and b"?" in match[2] and match[2].split(b"?")[0].decode() in changes.parts.types
    }
    known = dict(places)
    for reference in conditional:
        known[reference] = await _conditional(changes, call, reference, number)

    def swap(match: re.Match[bytes]) -> bytes:
        key, address = match[1], match[2].decode()
        if address in known:
            return b'"' + key + b'":"' + known[address].encode() + b'"'
        if key == b"reference" and address.startswith(("urn:uuid:", "urn:oid:")):
            raise BadReference(f"Bundle.entry[{number}]", address[:64])
        return match[0]

    return _ADDRESS.sub(swap, call.body)


async def _conditional(changes: Changes, call: Call, reference: str, number: int) -> str:
    type_, _, criteria = reference.partition("?")
    found = await changes.parts.find(type_, criteria, call.who)
    if len(found) != 1:
        raise BadReference(f"Bundle.entry[{number}]", f"{type_}?… matches {'none' if not found else 'several'}")
    return f"{type_}/{found[0].id}"


async def _done(changes: Changes, step: _Step, done: Committed) -> bytes:
    if step.target.name == "read":
        return _entry_of(await changes.parts.run(step.call))
    change = step.change
    assert change is not None
    type_, _, id_ = change.place.partition("/")
    own = next((one for one in done.written if (one.type, one.id) == (type_, id_)), None)
    version = own.version if own else change.existing
    if change.action == "D":
        response = {"status": "204"}
    else:
        status = "200" if change.existing or not change.created else "201"
        response = {"status": status, "location": change.place + (f"/_history/{version}" if version else "")}
        if version:
            response["etag"] = etag(version)
        response["lastModified"] = instant_text(done.at)
    shown = b"" if change.action == "D" or not step.call.header("prefer") else await changes.shown(step.call, change)
    return b"{" + (b'"resource":' + shown + b"," if shown else b"") + b'"response":' + dumps(response) + b"}"
