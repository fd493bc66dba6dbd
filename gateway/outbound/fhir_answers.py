"""Answers made of stored bytes: one resource with its validators, and Bundles spliced without parsing.

Source: FHIR R4 http.html (read, 304, ETag), bundle.html (searchset, history).
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache

from msgspec.structs import replace

from ..errors import Gone, NotFound
from ..model.ids import made_here
from ..model.outcome import Finding
from ..model.resource import Json, dumps, loads
from ..model.rest import Answer, Call, Seen, etag, etag_versions, http_date, parse_http_date
from ..model.times import instant_text
from ..store.base import Resource
from ..validate import definitions

_WORTH_GZIP, _LARGE_GZIP = 4096, 256 * 1024
_SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


def patients_of(resources: Iterable[Resource]) -> tuple[str, ...]:
    """Every Patient the resources are about, once, in order."""
    found = dict.fromkeys([resource.patient for resource in resources])
    found.pop("", None)
    return tuple(found)


def current(resource: Resource | None, place: str) -> Resource:
    """The resource, when there is one. Raises NotFound (also for what the caller may not know) and Gone."""
    if resource is None:
        raise NotFound(place)
    if resource.deleted:
        raise Gone(place)
    return resource


def resource_answer(resource: Resource, subtype: str, place: str) -> Answer:
    """200 with the stored bytes, validators, and what the audit says of it: the same for all who may see it."""
    headers = (("etag", etag(resource.version)), ("last-modified", http_date(resource.at)))
    patient = resource.patient
    return Answer(200, resource.body, headers, seen=Seen("R", subtype, (patient,) if patient else (), (place,)))


def not_modified(answer: Answer) -> Answer:
    """304 in place of an answer the client holds already; validators in both."""
    assert answer.seen is not None
    return replace(answer, status=304, body=b"", seen=replace(answer.seen, detail="304"))


def held(resource: Resource, call: Call) -> bool:
    """True when the client has this version (If-None-Match, else If-Modified-Since)."""
    match = call.header("if-none-match")
    if match:
        versions = etag_versions(match)
        return "*" in versions or str(resource.version) in versions
    since = call.header("if-modified-since")
    if not since:
        return False
    at = parse_http_date(since)
    return at is not None and resource.at.astimezone(UTC).replace(microsecond=0) <= at


_MODES = {mode: f',"search":{{"mode":"{mode}"}}}}'.encode() for mode in ("match", "include")}


def entry(resource: Resource, base: str, mode: str, body: bytes | None = None) -> bytes:
    """One searchset entry; `body` replaces the stored bytes when a subset was asked for."""
    url = f'{{"fullUrl":"{base}/{resource.type}/{resource.id}","resource":'.encode()
    return b"".join((url, resource.body if body is None else body, _MODES[mode]))


def entries(resources: Iterable[Resource], base: str, mode: str) -> list[bytes]:
    """Searchset entries of whole resources."""
    heads, after, end = _Heads(base), b'","resource":', _MODES[mode]
    return [b"".join((heads[one.type], one.id.encode(), after, one.body, end)) for one in resources]


class _Heads(dict[str, bytes]):
    """How the entry of a resource begins, by type."""

    def __init__(self, base: str) -> None:
        self._base = base

    def __missing__(self, type_: str) -> bytes:
        made = self[type_] = f'{{"fullUrl":"{self._base}/{type_}/'.encode()
        return made


def outcome_entry(findings: Sequence[Finding]) -> bytes:
    """What the server has to say about a search, as an entry of mode outcome."""
    outcome: Json = {"resourceType": "OperationOutcome", "issue": [_remark(one) for one in findings]}
    return b'{"resource":' + dumps(outcome) + b',"search":{"mode":"outcome"}}'


def _remark(finding: Finding) -> Json:
    remark: Json = {
        "severity": finding.severity,
        "code": "informational" if finding.severity == "information" else "not-supported",
        "details": {"text": finding.zh},
        "diagnostics": finding.en,
    }
    if finding.place:
        remark["expression"] = [finding.place]
    return remark


def history_entry(resource: Resource, base: str) -> bytes:
    """One history entry: what was done and what it gave. An id a client chose, or a deleted one, began with a PUT."""
    if resource.deleted:
        method, status = "DELETE", "204"
    elif resource.version > 1:
        method, status = "PUT", "201" if resource.revived else "200"
    else:
        method, status = "POST" if made_here(resource.id) else "PUT", "201"
    place = resource.type if method == "POST" else f"{resource.type}/{resource.id}"
    response = dumps({"status": status, "etag": etag(resource.version), "lastModified": instant_text(resource.at)})
    head = f'{{"fullUrl":"{base}/{resource.type}/{resource.id}"'.encode()
    body = b"" if resource.deleted else b',"resource":' + resource.body
    request = f',"request":{{"method":"{method}","url":"{place}"}},"response":'.encode()
    return head + body + request + response + b"}"


def bundle(
    kind: str,
    entries: Sequence[bytes],
    *,
    links: Sequence[tuple[str, str]],
    at: datetime,
    total: int | None = None,
) -> bytes:
    """A Bundle; `links` are (relation, url), `at` the moment it shows. An empty one has no `entry`."""
    head = f'{{"resourceType":"Bundle","meta":{{"lastUpdated":"{instant_text(at)}"}},"type":"{kind}"'.encode()
    if total is not None:
        head += f',"total":{total}'.encode()
    head += b',"link":' + dumps([{"relation": relation, "url": url} for relation, url in links])
    if not entries:
        return head + b"}"
    parts = list(entries)  # head and end become part of the first and last, so that a large body is put together once
    parts[0] = head + b',"entry":[' + parts[0]
    parts[-1] += b"]}"
    return b",".join(parts)


def subset(type_: str, body: bytes, *, elements: frozenset[str] = frozenset(), summary: str = "") -> bytes:
    """The resource with only what was asked for, tagged SUBSETTED. summary: true | text | data | "" (then `elements`).

    What identifies the resource, changes its meaning or is mandatory in R4 always stays.
    """
    whole = loads(body)
    if summary == "true":
        kept = {"resourceType": type_, **_summarised(type_, whole)}
    elif summary == "data":
        kept = {key: value for key, value in whole.items() if key != "text"}
    else:
        wanted = _kept_always(type_) | (frozenset({"text"}) if summary == "text" else _members(type_, elements))
        kept = {key: value for key, value in whole.items() if key.lstrip("_") in wanted}
    meta = dict(kept.get("meta", {}))
    meta["tag"] = [*meta.get("tag", []), _SUBSETTED]
    kept["meta"] = meta
    return dumps(kept)


def _summarised(path: str, value: Json) -> Json:
    """What R4 marks as summary, in every backbone below as well."""
    kept: Json = {}
    for key, inner in value.items():
        type_ = _summary_types(path).get(key.lstrip("_"))
        if type_ is None:
            continue
        below = "." in type_ and not key.startswith("_")
        items = [_summarised(type_, one) for one in inner] if below and isinstance(inner, list) else inner
        kept[key] = _summarised(type_, inner) if below and isinstance(inner, dict) else items
    return kept


@cache
def _summary_types(path: str) -> dict[str, str]:
    """JSON names a summary keeps, with their types."""
    marked = definitions.summary(path)
    found = definitions.elements(path)
    return {one.name: one.type for one in found if (f"{one.choice}[x]" if one.choice else one.name) in marked}


@lru_cache(1024)
def _members(type_: str, elements: frozenset[str]) -> frozenset[str]:
    """The JSON names of elements; `value` of a choice stands for all of it (`valueQuantity` …)."""
    return elements | {one.name for one in definitions.elements(type_) if one.choice in elements}


@cache
def _kept_always(type_: str) -> frozenset[str]:
    required = {one.name for one in definitions.elements(type_) if one.least}
    return frozenset(required | {"resourceType", "id", "meta", "implicitRules", "modifierExtension"})


async def compressed(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """Gzip for a client that takes it and a body worth it; a record shrinks to a tenth."""
    if answer.more is not None or len(answer.body) < _WORTH_GZIP or "gzip" not in headers.get("accept-encoding", ""):
        return answer
    if any(name == "content-encoding" for name, _ in answer.headers):
        return answer
    large = len(answer.body) > _LARGE_GZIP
    body = await asyncio.to_thread(_gzip, answer.body) if large else _gzip(answer.body)
    return replace(
        answer, body=body, headers=(*answer.headers, ("content-encoding", "gzip"), ("vary", "accept-encoding"))
    )


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)
