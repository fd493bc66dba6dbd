"""Mappings: prove those on disk, let them serve, and what came of it."""

from __future__ import annotations

from starlette.responses import Response

from ...errors import BadParameter, Forbidden
from ..pages.guard import redirect
from .parts import Desk
from .views_messages import title_of


async def mappings(desk: Desk) -> Response:
    """`/console/mappings`: the newest attempt."""
    _for_operators(desk)
    await desk.visit.disclose("mappings", entities=())
    directory = desk.parts.mappings.directory
    proof = desk.parts.proof.last
    rows = [(title_of(one.source, directory), one) for one in proof.groups] if proof else []
    return desk.page("mappings.html", tab="mappings", proof=proof, rows=rows, now=desk.visit.parts.clock())


async def attempt(desk: Desk) -> Response:
    """POST do=prove|switch."""
    _for_operators(desk)
    asked = desk.visit.form.get("do", "")
    if asked not in ("prove", "switch"):
        raise BadParameter("do", "prove or switch", detail_zh="请选择检验或启用。")
    await desk.visit.disclose(f"mappings-{asked}", entities=(), action="E")
    await desk.parts.proof.attempt(switch=asked == "switch", spread=True)
    return redirect("/console/mappings")


def _for_operators(desk: Desk) -> None:
    if not desk.admin:
        role = desk.visit.who.role.value
        raise Forbidden("/console/mappings", f"role {role}", detail_zh="映射由管理员启用。")
