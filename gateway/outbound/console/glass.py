"""Break-glass for review: who stated which reason to see what labels restrict, the newest first."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from ...errors import Forbidden
from ...security.glass import KIND, STARTED
from ...store.base import AuditQuery, AuditRow
from ..pages import moments
from ..pages.moments import When
from ..pages.words import Link
from .parts import Desk

_MOST = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One line; seen: the resident's page of who looked at what."""

    at: When
    who: str
    member: str
    reason: str
    seen: tuple[Link, ...]


async def glass(desk: Desk) -> Response:
    """`/console/glass`; the audit row names everybody shown. Raises Forbidden."""
    visit = desk.visit
    if not visit.who.may_read("AuditEvent"):
        raise Forbidden("/console/glass", "the whole alliance's administrators", detail_zh="只对整个联盟的管理员开放。")
    found = [row for _, row in await visit.parts.store.audits(AuditQuery(kind=KIND, subtype=STARTED, limit=_MOST))]
    patients = tuple(dict.fromkeys(patient for row in found for patient in row.patients))
    await visit.disclose("glass", patients=patients)
    return desk.page("glass_review.html", tab="glass", rows=[_row(desk, row) for row in found], most=_MOST)


def _row(desk: Desk, row: AuditRow) -> Row:
    member = desk.visit.parts.directory.members.get(row.member)
    return Row(
        at=moments.of(row.at, desk.visit.parts.clock(), full=True),
        who=row.display,
        member=member.name if member else row.member,
        reason=row.detail,
        seen=tuple(Link(f"/ui/p/{patient}/access", "调阅记录") for patient in row.patients),
    )
