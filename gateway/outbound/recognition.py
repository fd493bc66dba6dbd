"""Recognition and alerts of one resident for one caller: the record read once, the rules applied, nothing stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from ..model.context import AccessContext
from ..model.directory import Directory
from ..model.resource import Json, loads, reference_id
from ..recognise.decide import ReportDecision, Viewer, decide
from ..recognise.newest import Newest
from ..recognise.rules import RuleSheet
from ..store.base import Resource, Store
from .alerts import Alert, DrugClasses, alerts
from .dicom_web import Pacs, study_uid
from .medication import with_named
from .record import Record, member_of


class Hearing:
    """One record heard for one caller at one instant; answering: Study Instance UIDs whose images can be opened."""

    def __init__(
        self,
        record: Record,
        sheet: RuleSheet,
        directory: Directory,
        who: AccessContext,
        answering: frozenset[str],
        at: datetime,
    ) -> None:
        self._record, self._sheet, self._directory = record, sheet, directory
        self._viewer, self._answering, self._at = Viewer(who.member, who.alliance), answering, at

    @cached_property
    def _specimens(self) -> dict[str, Json]:
        return {one["id"]: one for one in self._record.specimens}

    @cached_property
    def _newest(self) -> Newest:
        record = self._record
        results = ((record.report_of(item) or {}, item) for item in record.observations)
        return Newest.of(results, self._specimens, self._sheet, self._at)

    def decision(self, report: Json) -> ReportDecision:
        """The verdict on one report of the record."""
        record, studies = self._record, self._record.studies_of(report)
        return decide(
            report,
            record.items_of(report),
            studies,
            self._sheet,
            producer=member_of(report, self._directory),
            viewer=self._viewer,
            directory=self._directory,
            images_answer=any(study_uid(study) in self._answering for study in studies),
            at=self._at,
            specimens=self._specimens,
            newest=self._newest,
        )


@dataclass(frozen=True, slots=True)
class Judge:
    """What verdicts and alerts need beside the record."""

    store: Store
    directory: Directory
    sheet: RuleSheet
    classes: DrugClasses
    pacs: Pacs

    async def record(self, patient: str, who: AccessContext) -> tuple[Record, list[Resource]]:
        """The resident's record as this caller may see it, and the rows it was made of."""
        rows = await self.store.everything(patient, who)
        return Record.of(await with_named(self.store, rows, who)), rows

    async def decisions(
        self, record: Record, reports: Sequence[Json], who: AccessContext, *, at: datetime
    ) -> list[ReportDecision]:
        """The verdict on each report, in the order given; asks each member's PACS once whether its images answer."""
        answering = await self._answering(record, reports, who)
        hearing = Hearing(record, self.sheet, self.directory, who, answering, at)
        return [hearing.decision(report) for report in reports]

    def alerts(self, record: Record, *, at: datetime) -> list[Alert]:
        """Alerts of the record, gravest first."""
        return alerts(record, self.directory, self.classes, self.sheet, at=at)

    async def _answering(self, record: Record, reports: Sequence[Json], who: AccessContext) -> frozenset[str]:
        studies = {study["id"]: study for report in reports for study in record.studies_of(report)}
        addresses = await self._addresses(studies.values(), who)
        asked = []
        for study in studies.values():
            address = next((addresses[id_] for id_ in _endpoints(study) if id_ in addresses), "")
            if address:
                asked.append((study_uid(study), address))
        return await self.pacs.answering(asked) if asked else frozenset()

    async def _addresses(self, studies: Iterable[Json], who: AccessContext) -> dict[str, str]:
        """PACS address by Endpoint id, active Endpoints only."""
        wanted = sorted({("Endpoint", id_) for study in studies for id_ in _endpoints(study)})
        found = [loads(one.body) for one in await self.store.read_many(wanted, who)] if wanted else []
        return {one["id"]: str(one.get("address", "")) for one in found if one.get("status") == "active"}


def _endpoints(study: Json) -> list[str]:
    return [id_ for id_ in (reference_id(one, "Endpoint") for one in study.get("endpoint", ())) if id_]
