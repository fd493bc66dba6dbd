"""Sign-in, sign-out, the start page and the search. A card number never stands in an address.

The form posts; what was typed travels sealed in the address of the result page, bound to the doctor and
good for a quarter of an hour, so Back works and neither history nor access log learns a number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ...errors import BadParameter, GatewayError, NotSignedIn
from ...model import systems
from ...model.context import AccessContext
from ...model.query import Filter, Query
from ...model.resource import Json, loads, reference_id
from ...security.access import request_id_of
from ...security.audit import SIGN_IN, SIGN_OUT, anonymous_row, audit_row
from ...security.guessing import DEVICE_COOKIE, device_cookie
from ...security.scopes import REACH, Door, allow
from ...security.signin import clear_cookie, cookie_value, set_cookie
from ...store.base import AuditQuery
from . import moments
from .criticals import MOST, standing_criticals
from .guard import Endpoint, Visit, error_page, html, read_form, redirect
from .parts import Frame, PageParts
from .render import render
from .views_home import (
    Recent,
    Results,
    Todo,
    critical_todo,
    recent_residents,
    results,
    review_todo,
)
from .views_sources import freshness_rows

_SEARCH_LIFE = timedelta(minutes=15)
_RECENT = 8
_RECENT_ROWS = 200
_REVIEWS = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Typed:
    """What travels sealed: who typed what, when."""

    user: str
    text: str
    at: datetime


async def home(visit: Visit) -> Response:
    """`/ui/`."""
    return await _start(visit, "", None)


async def search(visit: Visit) -> Response:
    """POST `/ui/search`: to the result page. GET `?q=<sealed>`: the hits."""
    if visit.request.method == "POST":
        text = visit.form.get("resident", "").strip()[:120]
        typed = Typed(visit.who.user, text, visit.parts.clock())
        return redirect("/ui/search?q=" + visit.parts.seal.close(msgspec.json.encode(typed)) if text else "/ui/")
    try:
        found = await visit.parts.find(_unseal(visit).text, visit.who)
    except BadParameter as error:
        return await _start(visit, "", None, problem=error.detail_zh or error.zh)
    tasks = await _open_reviews(visit)
    ids = {patient["id"] for patient in found.patients}
    concerned = [task for task in tasks if ids & _patients_of(task)]
    view = results(
        found.patients,
        concerned,
        visit.parts.directory,
        visit.parts.clock(),
        how=found.how_zh,
        more=found.more,
        waiting=found.waiting,
    )
    return await _start(visit, found.shown, view, found_ids=tuple(sorted(ids)))


def _unseal(visit: Visit) -> Typed:
    """What was typed. Raises BadParameter for an address that is old, another doctor's or made up."""
    clear = visit.parts.seal.open(visit.request.query_params.get("q", ""))
    try:
        typed = msgspec.json.decode(clear, type=Typed) if clear else None
    except msgspec.DecodeError:
        typed = None
    fresh = typed is not None and visit.parts.clock() - typed.at <= _SEARCH_LIFE
    if typed is None or not fresh or typed.user != visit.who.user:
        raise BadParameter("q", "the search has expired", detail_zh="这次查找已过期，请重新输入。")
    return typed


async def _start(
    visit: Visit, typed: str, found: Results | None, *, found_ids: tuple[str, ...] = (), problem: str = ""
) -> Response:
    """The start page with or without hits; everybody named on it is in its audit row."""
    recent, todo = await _recent_residents(visit), await _todo(visit)
    named = [*found_ids, *(r.href.rpartition("/")[2] for r in recent), *(t.href.rpartition("/")[2] for t in todo)]
    await visit.disclose(
        "search" if found else "start", patients=tuple(dict.fromkeys(named)), action="E" if found else "R"
    )
    frame = dataclasses.replace(visit.frame, search_box=False)  # the page has a larger one
    return dataclasses.replace(visit, frame=frame).page(
        "home.html",
        typed=typed,
        found=found,
        problem=problem,
        recent=recent,
        todo=todo,
        todo_about="近 3 天到达的危急值 · 待复核身份" + _cut(todo),
        freshness=freshness_rows(
            visit.parts.directory,
            visit.who.alliance,
            visit.who.member,
            await visit.parts.store.freshness(),
            visit.parts.clock(),
        ),
    )


def _cut(todo: list[Todo]) -> str:
    """Says of a list that is full that it may not be the whole."""
    most = (("危急值", MOST), ("主索引", _REVIEWS))
    cut = [f"{kind}只列 {count} 条" for kind, count in most if sum(t.kind == kind for t in todo) >= count]
    return f"（{'，'.join(cut)}）" if cut else ""


async def _recent_residents(visit: Visit) -> tuple[Recent, ...]:
    """Those this doctor opened last, from the audit log: the one record of it that cannot be forgotten."""
    query = AuditQuery(user=visit.who.user, kind="page", outcome="0", limit=_RECENT_ROWS)
    rows = [row for _, row in await visit.parts.store.audits(query) if row.subtype not in ("start", "search")]
    ids = list(dict.fromkeys(id_ for row in rows for id_ in row.patients))[:_RECENT]
    patients = await _patients(visit, ids)
    return recent_residents(rows, patients, visit.parts.clock())


async def _patients(visit: Visit, ids: Iterable[str]) -> dict[str, Json]:
    found = await visit.parts.store.read_many([("Patient", id_) for id_ in ids], visit.who)
    return {row.id: loads(row.body) for row in found}


async def _todo(visit: Visit) -> list[Todo]:
    """Critical results of the last days that still stand, then identity reviews nobody has decided."""
    now = visit.parts.clock()
    observations = await standing_criticals(visit.parts.store, visit.who, visit.parts.directory, now)
    tasks = await _open_reviews(visit)
    about = [reference_id(o.get("subject"), "Patient") for o in observations]
    about += [reference_id(t.get("for"), "Patient") for t in tasks]
    patients = await _patients(visit, dict.fromkeys(id_ for id_ in about if id_))
    todo = [
        critical_todo(o, patients[id_], visit.parts.directory, now)
        for o, id_ in zip(observations, about, strict=False)
        if id_ in patients
    ]
    reviews = zip(tasks, about[len(observations) :], strict=True)
    return todo + [review_todo(task, patients[id_], now) for task, id_ in reviews if id_ in patients]


async def _open_reviews(visit: Visit) -> list[Json]:
    filters = (
        Filter("status", "token", ("requested",)),
        Filter("code", "token", (systems.REVIEW + "|",)),
    )
    page = await visit.parts.store.search(Query("Task", filters, count=_REVIEWS), visit.who)
    return [loads(row.body) for row in page.matches]


def _patients_of(task: Json) -> set[str]:
    refs = [task.get("for"), task.get("focus"), *(i.get("valueReference") for i in task.get("input", ()))]
    return {reference_id(ref, "Patient") for ref in refs} - {""}


# ---- sign-in -------------------------------------------------------------------------------------
def signin_form(parts: PageParts) -> Endpoint:
    """GET `/ui/signin?next=`."""

    async def endpoint(request: Request) -> Response:
        return _form(parts, _within(request.query_params.get("next", "")))

    return endpoint


def signin_post(parts: PageParts) -> Endpoint:
    """POST `/ui/signin`: user and password, or an access token; then to `next`."""

    async def endpoint(request: Request) -> Response:
        frame = Frame(moments.of(parts.clock(), parts.clock(), full=True))
        request_id = request_id_of(request.headers)
        try:
            form = await read_form(request)
            _same_origin(request)
        except GatewayError as error:
            return error_page(error, frame, request_id)
        return await _sign_in(request, parts, form)

    return endpoint


async def _sign_in(request: Request, parts: PageParts, form: dict[str, str]) -> Response:
    access, request_id = parts.access, request_id_of(request.headers)
    address = access.address(request.client.host if request.client else "", request.headers)
    to, user = _within(form.get("next", "")), form.get("user", "").strip()
    device = cookie_value(request.headers.get("cookie", ""), DEVICE_COOKIE)
    # A token needs no user name: one pasted where the password goes is a token still.
    token = form.get("token", "").strip() or ("" if user else form.get("password", "").strip())
    try:
        if token:
            signed = access.sign_in.with_token(token, address, device)
        else:
            signed = await access.sign_in.with_password(user, form.get("password", ""), address, device)
        who = access.context(signed.session.who, request.headers, address, request_id)
        to = _own_start(who, to)
    except GatewayError as error:
        row = anonymous_row(
            parts.clock(), SIGN_IN, error, address=address, request_id=request_id, kind="login", user=user[:64]
        )
        await parts.store.disclose(row)
        return _form(parts, to, error.detail_zh or error.zh, status=error.http)
    await _sign_out(request, parts)  # whoever sat at this browser before
    await parts.store.disclose(audit_row(parts.clock(), who, SIGN_IN, kind="login"))
    answer = redirect(to)
    secure = request.url.scheme == "https"
    answer.headers.append("set-cookie", set_cookie(signed.cookie, secure=secure))
    answer.headers.append("set-cookie", device_cookie(signed.device, secure=secure))
    return answer


def signout(parts: PageParts) -> Endpoint:
    """POST `/ui/signout`: the session ends whether or not it was still alive."""

    async def endpoint(request: Request) -> Response:
        try:
            await read_form(request)
            _same_origin(request)
        except GatewayError as error:
            frame = Frame(moments.of(parts.clock(), parts.clock(), full=True))
            return error_page(error, frame, request_id_of(request.headers))
        await _sign_out(request, parts)
        answer = redirect("/ui/signin")
        answer.headers["set-cookie"] = clear_cookie()
        return answer

    return endpoint


async def _sign_out(request: Request, parts: PageParts) -> None:
    access, cookie = parts.access, cookie_value(request.headers.get("cookie", ""))
    session = access.sessions.find(cookie)
    if session is None:
        return
    access.sessions.end(cookie)
    address = access.address(request.client.host if request.client else "", request.headers)
    who = access.context(session.who, request.headers, address, request_id_of(request.headers))
    await parts.store.disclose(audit_row(parts.clock(), who, SIGN_OUT, kind="login"))


def _form(parts: PageParts, to: str, problem: str = "", *, status: int = 200) -> Response:
    frame = Frame(moments.of(parts.clock(), parts.clock(), full=True))
    return html(render("signin.html", frame=frame, next=to, problem=problem), status)


def _within(to: str) -> str:
    """Only an address of the doctor pages or the console: never another site, never `//host`."""
    inside = (to.startswith("/ui/") and not to.startswith("/ui/sign")) or f"{to}/".startswith("/console/")
    return to if inside and "\\" not in to and ":" not in to else "/ui/"


def _own_start(who: AccessContext, to: str) -> str:
    """`to` when the role may go there, else where its own pages start. Raises Forbidden for a role without pages."""
    doors = REACH[who.role].doors
    console = to.startswith("/console")
    if (Door.CONSOLE if console else Door.PAGES) in doors:
        return to
    if not console and Door.CONSOLE in doors:
        return "/console/"
    allow(who, Door.PAGES)
    return "/ui/"


def _same_origin(request: Request) -> None:
    """Before a session exists there is no CSRF token; the browser's own word on the origin stands in for it.

    A page in a sandbox says `null`, which is nobody's origin; an old browser may say nothing.
    """
    origin, site = request.headers.get("origin", ""), request.headers.get("sec-fetch-site", "")
    if site == "cross-site" or (origin and urlsplit(origin).netloc != request.headers.get("host", "")):
        raise NotSignedIn("Origin", detail_zh="请从本站的登录页登录。")
