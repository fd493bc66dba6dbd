"""Break-glass pages: why a doctor must see what labels keep from the role."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import Response

from ...model.context import Role
from ...security.glass import LEAST, MOST
from .guard import Visit, redirect
from .routes_resident import answer, follows_merges, opening


@follows_merges
async def glass_form(visit: Visit) -> Response:
    """`/glass`: what it does, and the reason asked for."""
    return await _form(visit, "")


@follows_merges
async def break_glass(visit: Visit) -> Response:
    """POST `/glass`: reason, audited first; then the summary with all there is. A reason too short is asked again."""
    reason = " ".join(visit.form.get("reason", "").split())[:MOST]
    if len(reason) < LEAST:
        return await _form(visit, f"请写明理由，不少于 {LEAST} 个字。")
    opened, glass = await opening(visit, "glass"), visit.parts.access.glass
    if opened.withheld and visit.who.role is Role.DOCTOR:
        await visit.parts.store.disclose(glass.row(visit.who, opened.id, reason))
        glass.open(visit.who, opened.id)
    return redirect(f"/ui/p/{quote(opened.id)}")


async def _form(visit: Visit, problem: str) -> Response:
    opened = await opening(visit, "glass")
    return answer(visit, opened, "", "破玻璃", "glass.html", withheld=bool(opened.withheld), problem=problem)
