"""What mappings missed in the newest messages, as they were processed: how often, at whom, what was sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.responses import Response

from ...errors import GatewayError
from ...inbox.queue import Entry, newest
from ...model.ids import Ids
from ...security import redact
from ...translate.gaps import Gap, Gaps, as_sent, samples
from ...translate.senders import sender_of
from .parts import Desk
from .views_messages import title_of

_MESSAGES = 2_000
_PAGE = 500
_SAMPLED = 60
"""Messages translated once more for the page, to see what they sent."""
_SHOWN = 3
_CODED = ("code", "unit")
_KEY = b"console gaps: ids lead nowhere"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the page. samples: codes as they were sent in the newest message that has the gap."""

    gap: Gap
    source: str
    member: str
    samples: tuple[str, ...]


async def gaps(desk: Desk) -> Response:
    """`/console/gaps`."""
    found, before, seen = Gaps(), "", 0
    while seen < _MESSAGES and (entries := await _entries(desk, before, min(_PAGE, _MESSAGES - seen))):
        done = await desk.outcomes(entries)
        for entry in entries:
            if entry.key in done:
                found.add(entry.source, entry.key, done[entry.key].findings, done[entry.key].unused)
        seen, before = seen + len(entries), entries[-1].key
    await desk.visit.disclose("gaps")
    rows = await _rows(desk, found.ranked())
    return desk.page(
        "gaps.html",
        tab="gaps",
        seen=seen,
        codes=[row for row in rows if row.gap.kind in _CODED],
        errors=[row for row in rows if row.gap.kind == "error"],
        fields=[row for row in rows if row.gap.kind == "field"],
    )


async def _entries(desk: Desk, before: str, limit: int) -> list[Entry]:
    messages, own = desk.parts.inbox.messages, desk.sources()
    if own is None:
        return await messages.entries(before=before, limit=limit)
    return await newest(messages, list(own), before=before, limit=limit)


async def _rows(desk: Desk, ranked: list[Gap]) -> list[Row]:
    directory = desk.parts.mappings.directory
    sent = await _sent(desk, [gap for gap in ranked if gap.kind in _CODED])
    out = []
    for gap in ranked:
        source = directory.sources.get(gap.source)
        member = directory.members.get(source.member) if source else None
        out.append(Row(gap, title_of(gap.source, directory), member.short if member else "", sent.get(gap, ())))
    return out


async def _sent(desk: Desk, missed: list[Gap]) -> dict[Gap, tuple[str, ...]]:
    """What stands where a code is missing, of the newest message that has it."""
    by_message: dict[str, list[Gap]] = {}
    for gap in missed:
        by_message.setdefault(gap.newest, []).append(gap)
    out: dict[Gap, tuple[str, ...]] = {}
    for key in list(by_message)[:_SAMPLED]:
        out |= await _of_message(desk, key, by_message[key])
        await asyncio.sleep(0)
    return out


async def _of_message(desk: Desk, key: str, missed: list[Gap]) -> dict[Gap, tuple[str, ...]]:
    mappings, raw = desk.parts.mappings, await desk.parts.inbox.messages.raw(key)
    if raw is None:
        return {}
    try:
        draft, traces = mappings.trace(raw, sender_of(raw, mappings.directory), Ids(_KEY), raw.received_at)
    except GatewayError:
        return {}
    sample = as_sent(traces)
    found = {gap: samples(gap, draft.findings, sample) for gap in missed}
    return {gap: tuple(map(redact.text, said[:_SHOWN])) for gap, said in found.items()}
