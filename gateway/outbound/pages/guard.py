"""Around every page: who asks, what they may, the audit row before the first byte, errors in Chinese."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ...errors import Forbidden, GatewayError, NotFound, NotSignedIn, TooLarge
from ...model.context import AccessContext
from ...model.rest import Seen
from ...security.access import request_id_of
from ...security.audit import REFUSED, audit_row
from ...security.http import note_fault
from ...security.scopes import Door, allow
from ...security.sessions import IDLE, Session
from ...security.signin import check_csrf
from ...store.base import AuditRow
from . import moments
from .parts import Frame, PageParts
from .render import render
from .words import Link

MAX_FORM_BYTES = 64 * 1024
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
PURPOSES = {
    "TREAT": "诊疗",
    "ETREAT": "紧急诊疗",
    "BTG": "破玻璃",
    "HPAYMT": "结算",
    "HOPERAT": "运行管理",
    "PUBHLTH": "公共卫生",
    "PATRQT": "居民申请",
    "HRESCH": "科研",
    "HSYSADMIN": "系统管理",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who may see pages. `form` holds the fields of a POST, first value each.

    glass: until when they see more of this resident than their role does.
    """

    request: Request
    parts: PageParts
    who: AccessContext
    frame: Frame
    form: dict[str, str]
    door: Door = Door.PAGES
    glass: datetime | None = None

    async def disclose(
        self,
        subtype: str,
        *,
        patients: tuple[str, ...] = (),
        entities: tuple[str, ...] = (),
        action: Literal["R", "E"] = "R",
        query: str = "",
    ) -> None:
        """Write the audit row; returns when it is durable."""
        seen = Seen(action, subtype, patients, entities, query)
        await self.parts.store.disclose(audit_row(self.parts.clock(), self.who, seen, kind=_SITES[self.door].kind))

    def page(self, template: str, **values: object) -> Response:
        """The template with the frame, as an answer."""
        return html(render(template, frame=self.frame, **values))


Handler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Site:
    """What differs between groups of pages: start page, name of the way back, kind of audit row."""

    home: str
    back: str
    kind: str


_SITES = {
    Door.PAGES: _Site("/ui/", "返回查找页", "page"),
    Door.CONSOLE: _Site("/console/", "返回消息日志", "console"),
}


def guarded(parts: PageParts, handler: Handler, door: Door = Door.PAGES, form_bytes: int = MAX_FORM_BYTES) -> Endpoint:
    """A Starlette endpoint: signed in, allowed through `door`, CSRF checked on POST, errors as pages."""

    async def endpoint(request: Request) -> Response:
        frame = dataclasses.replace(Frame(moments.of(parts.clock(), parts.clock(), full=True)), home=_SITES[door].home)
        who: AccessContext | None = None
        try:
            form = await read_form(request, form_bytes) if request.method == "POST" else {}
            who, session = _caller(request, parts, form, door)
            frame = _frame(parts, who, session, door)
            return await handler(Visit(request, parts, who, frame, form, door))
        except NotSignedIn as error:
            return _to_signin(request, error, frame)
        except GatewayError as error:
            if who is not None and isinstance(error, NotFound | Forbidden):
                await parts.store.disclose(_refusal(request, who, parts, error, _SITES[door].kind))
            return error_page(error, frame, request_id_of(request.headers))
        except Exception as fault:
            request_id = who.request_id if who else request_id_of(request.headers)
            note_fault(fault, request_id)
            return error_page(GatewayError(), frame, request_id)

    return endpoint


def _caller(
    request: Request, parts: PageParts, form: dict[str, str], door: Door
) -> tuple[AccessContext, Session | None]:
    headers, access = request.headers, parts.access
    address = access.address(request.client.host if request.client else "", headers)
    request_id = request_id_of(headers)
    if "authorization" in headers:
        return access.enter(door, request.method, headers, address, request_id), None
    session = access.session(headers)
    if request.method == "POST":
        check_csrf(session, form.get("csrf", ""))
    return allow(access.context(session.who, headers, address, request_id), door), session


def _frame(parts: PageParts, who: AccessContext, session: Session | None, door: Door) -> Frame:
    member = parts.directory.members.get(who.member)
    alliance = parts.directory.alliances.get(who.alliance)
    until = moments.of(session.used_at + IDLE, parts.clock()).text[-5:] if session else ""
    return Frame(
        now=moments.of(parts.clock(), parts.clock(), full=True),
        doctor=who.display,
        member=member.name if member else "",
        alliance=alliance.name if alliance else "",
        purpose=PURPOSES.get(who.purpose, who.purpose),
        until=until,
        csrf=session.csrf if session else "",
        search_box=door is Door.PAGES,
        home=_SITES[door].home,
    )


async def read_form(request: Request, limit: int = MAX_FORM_BYTES) -> dict[str, str]:
    """Fields of a url-encoded body, the first value each. Raises TooLarge above `limit` bytes or 200 fields."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise TooLarge("form")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        raise TooLarge("form") from None
    return {name: values[0] for name, values in fields.items()}


def html(text: str, status: int = 200) -> Response:
    """An HTML answer with the headers every page carries."""
    return HTMLResponse(text, status, headers=HEADERS)


def redirect(to: str) -> Response:
    """303: the next request is a GET."""
    return RedirectResponse(to, 303, headers=HEADERS)


_BACK = {site.home: site.back for site in _SITES.values()}
_ADVICE = {
    401: "请重新登录后再试。",
    403: "如诊疗需要，请联系本机构管理员开通权限。",
    404: "请核对地址，或从开始页重新打开。",
    502: "报告文字不受影响，请稍后再试影像。",
    503: "请稍后刷新本页；若持续出现，请联系管理员并告知下面的请求号。",
}
_TITLE = {401: "需要登录", 403: "无权查看", 404: "没有找到", 410: "已删除", 413: "内容过大"}


def error_page(error: GatewayError, frame: Frame, request_id: str) -> Response:
    """The error in words: what, what to do next, its code. Never says what the caller may not know."""
    page = render(
        "message.html",
        frame=frame,
        title=_TITLE.get(error.http, "未能完成"),
        text=_said(error),
        advice=_ADVICE.get(error.http, "" if error.http < 500 else _ADVICE[503]),
        code=error.code,
        request_id=request_id,
        links=(Link(frame.home, _BACK[frame.home]),),
    )
    return html(page, error.http)


def _said(error: GatewayError) -> str:
    """The Chinese sentence and its detail; a detail written for developers alone stays away from doctors."""
    chinese = any("\u4e00" <= character <= "\u9fff" for character in error.detail_zh)
    return f"{error.zh}{error.detail_zh}" if chinese else error.zh


def _to_signin(request: Request, error: NotSignedIn, frame: Frame) -> Response:
    if request.method != "GET" or "authorization" in request.headers:
        return error_page(error, frame, request_id_of(request.headers))
    return redirect("/ui/signin?next=" + quote(request.url.path, safe="/"))


def _refusal(request: Request, who: AccessContext, parts: PageParts, error: GatewayError, kind: str) -> AuditRow:
    seen = Seen("R", "view", detail=f"{error.code} {request.url.path}")
    return audit_row(parts.clock(), who, seen, kind=kind, outcome=REFUSED)
