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
from ..model.json_fault import JSON_FAULTS, unparseable
from ..model.resource import dumps
from ..model.rest import FHIR_JSON, Answer, Call, is_json
from .fhir_change import WriteParts
from .fhir_commit import Committer
from .turns import Pace

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_READS = ("GET", "HEAD")
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class _Request(msgspec.Struct):
    method: str = ""
    url: str = ""
    ifMatch: str = ""
    ifNoneExist: str = ""
    ifNoneMatch: str = ""
    ifModifiedSince: str = ""


class _Entry(msgspec.Struct):
    fullUrl: str = ""
    resource: msgspec.Raw = msgspec.Raw(b"")
    request: _Request | None = None


class _Bundle(msgspec.Struct):
    resourceType: str = ""
    type: str = ""
    entry: list[msgspec.Raw] = []


class _Binary(msgspec.Struct):
    resourceType: str = ""
    contentType: str = ""
    data: str = ""


_bundles = msgspec.json.Decoder(_Bundle)
_entries = msgspec.json.Decoder(_Entry)
_binaries = msgspec.json.Decoder(_Binary)


class Target(Struct, frozen=True):
    """What one entry is about; the shape `fhir_change.Aim` asks for. Reading entries are named read."""

    name: str
    type: str
    id: str = ""
    operation: str = ""


class Step(Struct, frozen=True):
    """One entry: its number in the Bundle, its temporary address, its call and what that is about."""

    number: int
    full_url: str
    call: Call
    target: Target

    @property
    def reads(self) -> bool:
        """GET and HEAD."""
        return self.target.name == "read"

    @property
    def place(self) -> str:
        """`Bundle.entry[n]`."""
        return f"Bundle.entry[{self.number}]"


@dataclass(frozen=True, slots=True)
class Entries:
    """A decoded Bundle: its type, and each entry as a step or as the reason why it is none."""

    kind: str
    steps: tuple[Step | GatewayError, ...]


async def entries_of(committer: Committer, call: Call) -> Entries:
    """The Bundle of `POST [base]`, decoded entry by entry (D27). Raises what forbids the whole of it."""
    if not is_json(call.header("content-type") or FHIR_JSON):
        raise UnsupportedMedia("Content-Type")
    bundle, pace = _read(call.body), Pace()
    steps: list[Step | GatewayError] = []
    for number, raw in enumerate(bundle.entry):
        try:
            steps.append(_step(committer.parts, call, number, raw))
        except GatewayError as fault:
            steps.append(fault.within(f"Bundle.entry[{number}]"))
        await pace()
    return Entries(bundle.type, tuple(steps))


def _read(body: bytes) -> _Bundle:
    try:
        bundle = _bundles.decode(body)
    except JSON_FAULTS as fault:
        raise unparseable(body, fault) from None
    if bundle.resourceType != "Bundle" or bundle.type not in ("batch", "transaction"):
        raise BadParameter("Bundle.type", "batch or transaction", detail_zh="须为 batch 或 transaction。")
    return bundle


def _step(parts: WriteParts, call: Call, number: int, raw: msgspec.Raw) -> Step:
    try:
        entry = _entries.decode(raw)
    except JSON_FAULTS as fault:
        raise unparseable(bytes(raw), fault) from None
    request = entry.request
    if request is None or request.method not in (*_READS, *_WRITES):
        raise BadParameter("request", "method and url are required", detail_zh="缺少 method 或 url。")
    if len(memoryview(entry.resource)) > parts.resource_bytes:
        raise TooLarge("resource", f"> {parts.resource_bytes} bytes")
    path, _, query = request.url.removeprefix(call.base).strip("/").partition("?")
    target = _target(request.method, path, parts.types)
    if target is None:
        raise NotSupported("request", f"{request.method} {path[:80]}")
    media, body = _body(request.method, bytes(entry.resource))
    headers = _headers(call, request, media, number)
    own = replace(call, method=request.method, path=path, query=query, headers=headers, body=body)
    return Step(number, entry.fullUrl, own, target)


def _target(method: str, path: str, types: frozenset[str]) -> Target | None:
    type_, _, id_ = path.partition("/")
    if method in _READS:
        return Target("read", type_, id_)
    if type_ not in types or (id_ and not _ID.fullmatch(id_)) or (id_ and method == "POST"):
        return None
    return Target(_WRITES[method], type_, id_)


def _body(method: str, resource: bytes) -> tuple[str, bytes]:
    """(media type, bytes); a patch comes wrapped in a Binary (FHIR R4 http.html, patch in a batch)."""
    if method != "PATCH":
        return FHIR_JSON, resource
    try:
        binary = _binaries.decode(resource)
        data = base64.b64decode(binary.data, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError):
        raise Unparseable("resource", "a patch is a Binary", detail_zh="补丁须放在 Binary 中。") from None
    if binary.resourceType != "Binary":
        raise UnsupportedMedia("resource", "a patch is a Binary", detail_zh="补丁须放在 Binary 中。")
    return binary.contentType, data


def _headers(call: Call, request: _Request, media: str, number: int) -> dict[str, str]:
    key = call.header("idempotency-key")
    given = {
        "content-type": media,
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
async def batch(committer: Committer, steps: Sequence[Step | GatewayError]) -> Answer:
    """Each entry for itself; a refused one leaves the others alone."""
    return Answer(200, bundle_of("batch-response", [await _alone(committer, one) for one in steps]))


async def _alone(committer: Committer, step: Step | GatewayError) -> bytes:
    if isinstance(step, GatewayError):
        return _refusal(step)
    if step.reads:
        return entry_of(await committer.parts.run(step.call))
    try:
        answer = await committer.single(step.call, step.target)
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
    if answer.status >= 400:
        return dumps({"response": {**response, "outcome": msgspec.Raw(answer.body)}})
    resource = b'"resource":' + answer.body + b"," if answer.body and "json" in answer.media else b""
    return b"{" + resource + b'"response":' + dumps(response) + b"}"


def bundle_of(kind: str, entries: Sequence[bytes]) -> bytes:
    """The response Bundle."""
    head = f'{{"resourceType":"Bundle","type":"{kind}"'.encode()
    return head + (b',"entry":[' + b",".join(entries) + b"]}" if entries else b"}")
