"""batch and transaction: the entries of a Bundle as interactions. Source: FHIR R4 http.html §3.1.0.11."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..errors import BadParameter, GatewayError, NotSupported, TooLarge, Unparseable, UnsupportedMedia
from ..model.json_fault import JSON_FAULTS
from ..model.pace import Pace
from ..model.resource import dumps
from ..model.rest import FHIR_JSON, Answer, Call, is_json, parse_http_date
from ..model.times import instant_text
from .fhir_body import said
from .fhir_commit import Committer
from .fhir_draft import Entry, Request, read_entry
from .preparer import Work

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_READS = ("GET", "HEAD")
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class _Binary(msgspec.Struct):
    resourceType: str = ""
    contentType: str = ""
    data: str = ""


_binaries = msgspec.json.Decoder(_Binary)


class Target(Struct, frozen=True, gc=False):
    """What one entry is about; the shape `fhir_change.Aim` asks for. Reading entries are named read."""

    name: str
    type: str
    id: str = ""
    operation: str = ""


class Step(Struct, frozen=True, gc=False):
    """One entry: its number in the Bundle, its call, as yet without a body, and what that is about.

    criteria: what names its resource instead of an id, "" when an id does or nothing has to.
    """

    number: int
    call: Call
    target: Target
    entry: Entry
    criteria: str

    @property
    def reads(self) -> bool:
        """GET and HEAD."""
        return self.target.name == "read"

    @property
    def place(self) -> str:
        """`Bundle.entry[n]`."""
        return f"Bundle.entry[{self.number}]"

    def within(self, bundle: bytes) -> Call:
        """The call with its body. Raises Unparseable, UnsupportedMedia for a patch that is none."""
        resource = bytes(bundle[self.entry.start : self.entry.end])
        if self.call.method != "PATCH":
            return replace(self.call, body=resource)
        media, body = _patch(resource)
        return replace(self.call, headers={**self.call.headers, "content-type": media}, body=body)


@dataclass(frozen=True, slots=True)
class Entries:
    """A decoded Bundle: its type, and each entry as a step or as the reason why it is none."""

    kind: str
    steps: tuple[Step | GatewayError, ...]


async def entries_of(committer: Committer, call: Call, work: Work) -> Entries:
    """The Bundle of `POST [base]`, entry by entry (D27). Raises what forbids the whole of it."""
    if not is_json(call.header("content-type") or FHIR_JSON):
        raise UnsupportedMedia("Content-Type")
    kind, entries = await work.entries()
    pace, headers = Pace(), _headers(call, Request(), 0)
    steps: list[Step | GatewayError] = []
    for number, entry in enumerate(entries):
        try:
            steps.append(_step(committer, call, work.body, headers, number, entry))
        except GatewayError as fault:
            steps.append(fault.within(f"Bundle.entry[{number}]"))
        await pace()
    return Entries(kind, tuple(steps))


def _step(
    committer: Committer, call: Call, bundle: bytes, headers: dict[str, str], number: int, entry: Entry
) -> Step:  # fmt: skip
    if entry.request is None:
        entry = read_entry(bytes(bundle[entry.start : entry.end]), entry.start)
    parts, request = committer.parts, entry.request or Request()
    if request.method not in _READS and request.method not in _WRITES:
        raise BadParameter("request", "method and url are required", detail_zh="缺少 method 或 url。")
    if entry.end - entry.start > parts.resource_bytes:
        raise TooLarge("resource", f"> {parts.resource_bytes} bytes")
    path, _, query = request.url.removeprefix(call.base).strip("/").partition("?")
    target = _target(request.method, path, parts.types)
    if target is None:
        raise NotSupported("request", f"{request.method} {path[:80]}")
    if target.name in ("create", "update"):
        said(target.type, entry.type)
    own = headers if _plain(request) and "idempotency-key" not in headers else _headers(call, request, number)
    criteria = request.ifNoneExist.lstrip("?") if target.name == "create" else "" if target.id else query
    return Step(number, Call(request.method, path, query, own, b"", call.who, call.base), target, entry, criteria)


def _plain(request: Request) -> bool:
    return not (request.ifMatch or request.ifNoneExist or request.ifNoneMatch or request.ifModifiedSince)


def _target(method: str, path: str, types: frozenset[str]) -> Target | None:
    type_, _, id_ = path.partition("/")
    if method in _READS:
        return Target("read", type_, id_)
    if type_ not in types or (id_ and not _ID.fullmatch(id_)) or (id_ and method == "POST"):
        return None
    return Target(_WRITES[method], type_, id_)


def _patch(resource: bytes) -> tuple[str, bytes]:
    """(media type, bytes): Parameters as they are, a JSON Patch in a Binary (FHIR R4 http.html, patch in a batch)."""
    try:
        binary = _binaries.decode(resource)
        if binary.resourceType == "Parameters":
            return FHIR_JSON, resource
        data = base64.b64decode(binary.data, validate=True)
    except (*JSON_FAULTS, binascii.Error, ValueError):
        raise Unparseable("resource", "a patch is a Binary", detail_zh="补丁须放在 Binary 中。") from None
    if binary.resourceType != "Binary":
        raise UnsupportedMedia("resource", "a patch is a Binary", detail_zh="补丁须放在 Binary 中。")
    return binary.contentType, data


def _headers(call: Call, request: Request, number: int) -> dict[str, str]:
    key = call.header("idempotency-key")
    given = {
        "content-type": FHIR_JSON,
        "accept": FHIR_JSON,
        "prefer": call.header("prefer"),
        "if-match": request.ifMatch,
        "if-none-exist": request.ifNoneExist,
        "if-none-match": request.ifNoneMatch,
        "if-modified-since": request.ifModifiedSince,
        "idempotency-key": f"{key}#{number}" if key else "",
    }
    return {name: value for name, value in given.items() if value}


# ---- batch ------------------------------------------------------------------------------------
async def batch(committer: Committer, steps: Sequence[Step | GatewayError], bundle: bytes) -> Answer:
    """Each entry for itself; a refused one leaves the others alone."""
    return Answer(200, bundle_of("batch-response", [await _alone(committer, one, bundle) for one in steps]))


async def _alone(committer: Committer, step: Step | GatewayError, bundle: bytes) -> bytes:
    if isinstance(step, GatewayError):
        return _refusal(step)
    if step.reads:
        return entry_of(await committer.parts.run(step.call))
    try:
        call = step.within(bundle)
    except GatewayError as fault:
        return _refusal(fault.within(step.place))
    try:
        answer = await committer.single(call, step.target)
    except GatewayError as error:
        await committer.note_refusal(step.call, step.target, error)
        return _refusal(error)
    if answer.seen is not None:
        await committer.disclose(step.call, answer.seen)
    return entry_of(answer)


def _refusal(error: GatewayError) -> bytes:
    return dumps({"response": {"status": str(error.http), "outcome": error.operation_outcome()}})


def entry_of(answer: Answer) -> bytes:
    """An answer as an entry of the response."""
    headers = dict(answer.headers)
    response = {"status": str(answer.status)}
    for name in ("etag", "location"):
        if name in headers:
            response[name] = headers[name]
    if (at := parse_http_date(headers.get("last-modified", ""))) is not None:
        response["lastModified"] = instant_text(at)
    if answer.status >= 400:
        return dumps({"response": {**response, "outcome": msgspec.Raw(answer.body)}})
    resource = b'"resource":' + answer.body + b"," if answer.body and "json" in answer.media else b""
    return b"{" + resource + b'"response":' + dumps(response) + b"}"


def bundle_of(kind: str, entries: Sequence[bytes]) -> bytes:
    """The response Bundle."""
    head = f'{{"resourceType":"Bundle","type":"{kind}"'.encode()
    return head + (b',"entry":[' + b",".join(entries) + b"]}" if entries else b"}")
