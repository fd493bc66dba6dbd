"""Rendered frames from the PACS of the member that made them (D15): checked, audited, passed through.

The gateway keeps no pixels. A request names study, series and instance; the study must be in the store and
the caller's to read, its Endpoint must lie below an address the operator allowed, and the disclosure is
durable before the first byte leaves. Source: DICOM PS3.18 §10.4.1.1.3 (Retrieve Rendered).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import BadParameter, Forbidden, GatewayError, NotFound, PacsSilent
from ..model import systems
from ..model.context import AccessContext
from ..model.query import Filter, Query
from ..model.resource import Json, loads, reference_id
from ..model.times import Clock
from ..store.base import AuditRow, Store

_UID = re.compile(r"[0-9.]{1,64}")
_FRAME = re.compile(r"[1-9][0-9]{0,5}")
_PASSED_ON = {
    "viewport": re.compile(r"\d{1,4},\d{1,4}"),
    "window": re.compile(r"-?\d{1,5}(\.\d+)?,\d{1,5}(\.\d+)?(,[a-z-]{1,20})?"),
    "quality": re.compile(r"\d{1,3}"),
}
_ACCEPT = "image/jpeg, image/png;q=0.9"
_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")


@dataclass(frozen=True, slots=True)
class PacsSettings:
    """allowed: base addresses the gateway may fetch from; nothing else is ever called (T23)."""

    allowed: tuple[str, ...] = ()
    timeout_s: float = 10.0
    probe_timeout_s: float = 1.5
    max_bytes: int = 16 * 1024 * 1024
    remember_s: float = 60.0


@dataclass(slots=True)
class Pacs:
    """The members' picture archives: fetches one rendered frame, and knows whether a study's images answer.

    client: without redirects; closed by whoever made it. clock: for how long an answer is remembered.
    """

    settings: PacsSettings
    client: httpx.AsyncClient
    clock: Clock
    _seen: dict[str, tuple[datetime, bool]] = field(default_factory=dict)

    def allow(self, addresses: tuple[str, ...]) -> None:
        """From now on these base addresses, and no others."""
        self.settings = replace(self.settings, allowed=addresses)
        self._seen.clear()

    def allowed(self, address: str) -> bool:
        """True when the address lies at or below an allowed base: same scheme, host and port."""
        return any(_below(address, base) for base in self.settings.allowed)

    async def rendered(self, address: str, path: str, params: dict[str, str]) -> tuple[bytes, str]:
        """(picture, media type) of `<address>/<path>/rendered`. Raises PacsSilent, Forbidden."""
        if not self.allowed(address):
            raise Forbidden("Endpoint.address", "not an allowed PACS", detail_zh="影像地址不在允许的范围内。")
        url = f"{_studies(address)}/{path}/rendered"
        try:
            async with self.client.stream(
                "GET", url, params=params, headers={"Accept": _ACCEPT}, timeout=self.settings.timeout_s
            ) as answer:
                return await self._picture(answer)
        except httpx.HTTPError as error:
            raise PacsSilent("Endpoint", type(error).__name__, detail_zh="") from error

    async def _picture(self, answer: httpx.Response) -> tuple[bytes, str]:
        media = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if answer.status_code == 404:
            raise NotFound("studies", "the PACS does not hold this frame", detail_zh="影像系统中没有这一幅。")
        if answer.status_code != 200 or media not in _PICTURES:
            raise PacsSilent("Endpoint", f"status {answer.status_code}", detail_zh="")
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > self.settings.max_bytes:
                raise PacsSilent("Endpoint", "picture too large", detail_zh="图像过大。")
        return bytes(body), media

    async def answers(self, study_uid: str, address: str) -> bool:
        """True when the PACS holds the study and answers now; remembered for `remember_s`."""
        if not address or not self.allowed(address) or not _UID.fullmatch(study_uid):
            return False
        known = self._seen.get(study_uid)
        if known and (self.clock() - known[0]).total_seconds() < self.settings.remember_s:
            return known[1]
        found = await self._probe(study_uid, address)
        if len(self._seen) > 4096:
            self._seen.clear()
        self._seen[study_uid] = (self.clock(), found)
        return found

    async def _probe(self, study_uid: str, address: str) -> bool:
        # QIDO-RS asks for one line of text where a rendered frame would make the archive decode pixels.
        try:
            answer = await self.client.get(
                _studies(address),
                params={"StudyInstanceUID": study_uid, "limit": "1"},
                headers={"Accept": "application/dicom+json"},
                timeout=self.settings.probe_timeout_s,
            )
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and len(answer.content) > 2

    async def answering(self, studies: Iterable[tuple[str, str]]) -> frozenset[str]:
        """Of (study uid, PACS address) pairs, the uids whose images can be opened now; asked side by side."""
        asked = list(studies)
        found = await asyncio.gather(*(self.answers(uid, address) for uid, address in asked))
        return frozenset(uid for (uid, _), yes in zip(asked, found, strict=True) if yes)


Caller = Callable[[Request], Awaitable[AccessContext]]


@dataclass(frozen=True, slots=True)
class DicomWebParts:
    """What the proxy is joined from. caller: who asks, or NotSignedIn."""

    store: Store
    pacs: Pacs
    clock: Clock
    caller: Caller


def dicom_web_routes(parts: DicomWebParts) -> list[Route]:
    """Rendered instance and frame, at the paths DICOM PS3.18 gives them, below `/dicom-web`."""
    base = "/dicom-web/studies/{study}/series/{series}/instances/{instance}"

    async def endpoint(request: Request) -> Response:
        try:
            return await _frame(request, parts)
        except GatewayError as error:
            return JSONResponse(error.operation_outcome(), error.http, media_type="application/fhir+json")

    return [
        Route(base + "/rendered", endpoint, methods=["GET"]),
        Route(base + "/frames/{frame}/rendered", endpoint, methods=["GET"]),
    ]


async def _frame(request: Request, parts: DicomWebParts) -> Response:
    who = await parts.caller(request)
    uids = [request.path_params[name] for name in ("study", "series", "instance")]
    frame = request.path_params.get("frame", "")
    if not all(_UID.fullmatch(uid) for uid in uids) or (frame and not _FRAME.fullmatch(frame)):
        raise NotFound("studies")
    study = await find_study(parts.store, uids[0], who)
    address = await endpoint_address(parts.store, study, who)
    if not _holds(study, uids[1], uids[2]):
        raise NotFound(f"ImagingStudy/{study['id']}")
    await parts.store.disclose(_audit(request, parts.clock(), who, study, uids[2]))
    path = f"{uids[0]}/series/{uids[1]}/instances/{uids[2]}" + (f"/frames/{frame}" if frame else "")
    picture, media = await parts.pacs.rendered(address, path, _params(request))
    return Response(picture, media_type=media, headers={"Cache-Control": "private, max-age=300"})


async def find_study(store: Store, study_uid: str, who: AccessContext) -> Json:
    """The ImagingStudy with this Study Instance UID; raises NotFound also when the caller may not read it."""
    criterion = Filter("identifier", "token", (f"{systems.DICOM_UID}|urn:oid:{study_uid}",))
    page = await store.search(Query("ImagingStudy", (criterion,), count=1), who)
    if not page.matches:
        raise NotFound("ImagingStudy")
    return loads(page.matches[0].body)


async def endpoint_address(store: Store, study: Json, who: AccessContext) -> str:
    """Address of the first active DICOMweb Endpoint of the study; "" when it has none (images not connected)."""
    ids = [reference_id(ref, "Endpoint") for ref in study.get("endpoint", ())]
    found = await store.read_many([("Endpoint", id_) for id_ in ids if id_], who)
    active = [body for body in (loads(r.body) for r in found) if body.get("status") == "active"]
    return str(active[0].get("address", "")) if active else ""


def study_uid(study: Json) -> str:
    """Study Instance UID of an ImagingStudy, "" when it carries none."""
    for identifier in study.get("identifier", ()):
        value = str(identifier.get("value", ""))
        if identifier.get("system") == systems.DICOM_UID:
            return value.removeprefix("urn:oid:")
    return ""


def _holds(study: Json, series_uid: str, instance_uid: str) -> bool:
    """Only frames the metadata names are fetched; a series listed without instances vouches for its own."""
    series = next((s for s in study.get("series", ()) if s.get("uid") == series_uid), None)
    if series is None:
        return False
    instances = series.get("instance", ())
    return not instances or any(i.get("uid") == instance_uid for i in instances)


def _params(request: Request) -> dict[str, str]:
    out: dict[str, str] = {}
    for name, value in request.query_params.items():
        shape = _PASSED_ON.get(name)
        if shape is None or not shape.fullmatch(value):
            raise BadParameter(name)
        out[name] = value
    return out


def _audit(request: Request, now: datetime, who: AccessContext, study: Json, instance: str) -> AuditRow:
    patient = reference_id(study.get("subject"), "Patient")
    return AuditRow(
        at=now,
        action="R",
        kind="page",
        subtype="image",
        outcome="0",
        user=who.user,
        display=who.display,
        role=str(who.role),
        member=who.member,
        purpose=who.purpose,
        client=who.client,
        address=who.address or (request.client.host if request.client else ""),
        request_id=who.request_id,
        patients=(patient,) if patient else (),
        entities=(f"ImagingStudy/{study['id']}",),
        detail=instance,
    )


def _studies(address: str) -> str:
    """The `…/studies` resource of an Endpoint whose address names it or the service root."""
    bare = address.rstrip("/")
    return bare if bare.endswith("/studies") else bare + "/studies"


def _below(address: str, base: str) -> bool:
    a, b = urlsplit(address), urlsplit(base)
    try:
        same = (a.scheme, a.hostname, a.port) == (b.scheme, b.hostname, b.port)
    except ValueError:
        return False
    clean = not a.username and not a.password and ".." not in a.path.split("/") and "%" not in a.path
    inside = (a.path.rstrip("/") + "/").startswith(b.path.rstrip("/") + "/")
    return same and clean and inside and a.scheme in ("http", "https") and not a.query and not a.fragment
