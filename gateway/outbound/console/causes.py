"""Quarantined messages by cause: look into one, mend the mapping, set the whole group back. Parked ones beside them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from ...errors import BadParameter
from ...inbox.groups import Group, groups, place_of
from ...inbox.queue import Entry, newest
from ...model.directory import Directory
from ...model.outcome import Finding, State
from ..pages import moments
from ..pages.guard import redirect
from ..pages.moments import When
from .parts import Desk
from .views_messages import title_of
from .words import Remark, remark

SHOWN = 20_000
"""Messages looked through, newest first."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One group as it is shown."""

    group: Group
    title: str
    said: Remark
    first: When
    last: When


async def causes(desk: Desk) -> Response:
    """`/console/groups`."""
    entries, parked = await _of(desk, State.QUARANTINED), await _of(desk, State.PARKED)
    await desk.visit.disclose("groups")
    directory, now = desk.parts.mappings.directory, desk.visit.parts.clock()
    replayed = desk.visit.request.query_params.get("replayed", "")
    return desk.page(
        "groups.html",
        tab="groups",
        causes=[_cause(one, directory, now) for one in groups(entries)],
        parked=[_cause(one, directory, now) for one in groups(parked)],
        seen=len(entries),
        replayed=replayed if replayed.isdigit() else "",
    )


async def redrive(desk: Desk) -> Response:
    """POST: the group's messages, processed again with today's mapping."""
    form = desk.visit.form
    wanted = (form.get("source", ""), form.get("code", ""), form.get("place", ""))
    if not wanted[1]:
        raise BadParameter("code", detail_zh="请从列表里选择一组。")
    keys = [one.key for one in await _of(desk, State.QUARANTINED) if (one.source, one.reason, place_of(one)) == wanted]
    await desk.visit.disclose("replay", action="E", query=f"{len(keys)} messages: {' '.join(wanted)}")
    await desk.parts.inbox.replay(keys)
    return redirect(f"/console/groups?replayed={len(keys)}")


async def _of(desk: Desk, state: State) -> list[Entry]:
    """Messages of the caller's sources in that state, newest first."""
    messages, own = desk.parts.inbox.messages, desk.sources()
    if own is None:
        return await messages.entries(state=state, limit=SHOWN)
    return await newest(messages, list(own), state=state, limit=SHOWN)


def _cause(group: Group, directory: Directory, now: datetime) -> Cause:
    said = remark(Finding(group.code, "error", group.place, "", ""))
    first, last = moments.of(group.first, now), moments.of(group.last, now)
    return Cause(group, title_of(group.source, directory), said, first, last)
