"""Associations of the DICOM door: who called, under which AE titles, and what was wrong."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from ...security.associations import Met
from ..pages import moments
from ..pages.moments import When
from .parts import Desk
from .views_messages import title_of


@dataclass(frozen=True, slots=True)
class Row:
    """One line. code, text: of what was wrong; "" when nothing was. rejected: not one instance was asked for."""

    at: When
    address: str
    called: str
    calling: str
    source: str
    times: int
    stored: int
    refused: int
    open: int
    rejected: bool
    code: str
    text: str


async def dicom(desk: Desk) -> Response:
    """`/console/dicom`: the newest first. A vendor sees its own sources, and those nobody could place."""
    await desk.visit.disclose("dicom", entities=())
    own, met = desk.sources(), desk.parts.associations
    rows = [_row(desk, one) for one in met.newest() if own is None or not one.source or one.source in own]
    return desk.page("dicom.html", tab="dicom", rows=rows, port=met.port)


def _row(desk: Desk, one: Met) -> Row:
    fault = one.fault or one.wrong
    return Row(
        at=moments.of(one.last, desk.visit.parts.clock()),
        address=one.address,
        called=one.called,
        calling=one.calling,
        source=title_of(one.source, desk.parts.mappings.directory) if one.source else "",
        times=one.times,
        stored=one.stored,
        refused=one.refused,
        open=one.open,
        rejected=one.fault is not None,
        code=fault.code if fault else "",
        text=fault.sentence_zh() if fault else "",
    )
