"""互认统计: the decisions of a month, counted, as a page and as CSV; no resident is named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response

from ...model.query import Filter, Query
from ...model.resource import loads
from ...model.systems import RECOGNITION_ACT
from ...recognise.acts import Act, Count, Place, Told, of_issue, tally
from .guard import HEADERS, Visit
from .views_statistics import Month, statistics_text, statistics_view

_AT_ONCE = 500


async def statistics(visit: Visit) -> Response:
    """`/ui/recognition?month=2026-03`."""
    month, counts = await _counted(visit)
    parts = visit.parts
    view = statistics_view(month, counts, parts.directory, parts.sheet, parts.clock())
    return visit.page("statistics.html", view=view)


async def statistics_csv(visit: Visit) -> Response:
    """`/ui/recognition.csv?month=2026-03`."""
    month, counts = await _counted(visit)
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="recognition-{month.text}.csv"'}
    return Response(
        statistics_text(month, counts, visit.parts.directory), media_type="text/csv; charset=utf-8", headers=headers
    )


async def _counted(visit: Visit) -> tuple[Month, Mapping[Place, Count]]:
    month = Month.said(visit.request.query_params.get("month", ""), visit.parts.clock())
    decisions = [(act, member) async for act, member in _acts(visit, month)]
    producers = await _producers(visit, {act.report for act, _ in decisions})
    await visit.disclose("statistics", action="E", query=f"month={month.text}")
    told = [Told(act, member, producers.get(act.report, "")) for act, member in decisions]
    return month, tally(told)


async def _acts(visit: Visit, month: Month) -> AsyncIterator[tuple[Act, str]]:
    """Decisions of the month with the member whose doctor made them."""
    bounds = (f"ge{month.start.isoformat()}", f"lt{month.moved(1).start.isoformat()}")
    filters = (
        Filter("code", "token", (f"{RECOGNITION_ACT}|",)),
        *(Filter("identified", "date", (bound,)) for bound in bounds),
    )
    cursor = ""
    while True:
        query = Query("DetectedIssue", filters, count=_AT_ONCE, cursor=cursor)
        page = await visit.parts.store.search(query, visit.who)
        for row in page.matches:
            if act := of_issue(loads(row.body)):
                yield act, row.member
        cursor = page.next
        if not cursor:
            return


async def _producers(visit: Visit, reports: set[str]) -> dict[str, str]:
    """The member each report comes from."""
    wanted, found = sorted(reports - {""}), {}
    for start in range(0, len(wanted), _AT_ONCE):
        refs = [("DiagnosticReport", id_) for id_ in wanted[start : start + _AT_ONCE]]
        found.update({row.id: row.member for row in await visit.parts.store.read_many(refs, visit.who)})
    return found
