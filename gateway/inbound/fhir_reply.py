"""What a committed change answers: status, validators, location, and by `Prefer: return` a body.

Source: FHIR R4 http.html §3.1.0.1.8 (Prefer), §3.1.0.8 (create).
"""

from __future__ import annotations

from ..model.resource import Json, dumps, loads
from ..model.rest import Answer, Call, etag, http_date, prefer
from ..store.base import Committed, Resource, Store, Written
from .fhir_change import Change

Index = dict[str, Written]
"""What became of each resource of a plan, by `Type/id`."""


def index_of(done: Committed) -> Index:
    """Made once a commit."""
    return {f"{one.type}/{one.id}": one for one in done.written}


def version_of(change: Change, written: Index) -> tuple[int, bool]:
    """(version the answer is about, whether this commit made it); 0 when only a source record was added to it."""
    own = written.get(change.place)
    return change.existing or (own.version if own else 0), own is not None and own.changed


async def answer_of(store: Store, call: Call, change: Change, done: Committed) -> Answer:
    """The answer to one interaction."""
    version, made = version_of(change, index_of(done))
    tag = (("etag", etag(version)),) if version else ()
    if change.action == "D":
        return Answer(204, b"", tag)
    found = await seen_version(store, call, change, version) if not made or shows(call, change) else None
    at = found.at if found is not None else done.at
    location = f"{call.base}/{change.place}" + (f"/_history/{version}" if version else "")
    headers = (*tag, ("last-modified", http_date(at)), ("location", location))
    return Answer(status_of(change), body_of(call, change, found), headers)


def status_of(change: Change) -> int:
    """201 for what is new to its sender, also when the person was known; 204 for what is gone; else 200."""
    if change.action == "D":
        return 204
    return 201 if change.created and not change.existing else 200


def shows(call: Call, change: Change) -> bool:
    """True when the answer carries something of the resource itself."""
    return _wanted(call) == "representation" or change.name == "operation"


def _wanted(call: Call) -> str:
    return prefer(call.header("prefer"), "return") or "representation"


async def seen_version(store: Store, call: Call, change: Change, version: int) -> Resource | None:
    """The version the answer is about, as far as the caller may see it."""
    type_, _, id_ = change.place.partition("/")
    if version:
        return await store.vread(type_, id_, version, call.who)
    return await store.read(type_, id_, call.who)


def body_of(call: Call, change: Change, found: Resource | None) -> bytes:
    """By `Prefer: return` the resource, an OperationOutcome, or nothing; of $meta-… the Meta."""
    wanted = _wanted(call)
    type_ = change.place.partition("/")[0]
    if change.name == "operation":
        meta = loads(found.body).get("meta", {}) if found is not None and found.body else {}
        return dumps({"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": meta}]})
    if wanted == "operationoutcome" or (change.known and not change.existing and not call.who.may_read(type_)):
        return dumps(_told(change))
    return found.body if wanted == "representation" and found is not None else b""


def _told(change: Change) -> Json:
    text, english = "已保存。", "Stored."
    if change.existing:
        text, english = "符合条件的资源已存在，未新建。", "A resource that meets the condition exists; none was made."
    elif change.known:
        text = "已有此人，内容已作为一条来源记录保存。"
        english = "The person was known; what was sent is kept as a source record."
    issue = {"severity": "information", "code": "informational", "details": {"text": text}, "diagnostics": english}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
