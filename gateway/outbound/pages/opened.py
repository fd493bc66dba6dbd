"""A resident opened by a doctor: everything the store gives this caller, parsed once, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from ...errors import NotFound
from ...model import systems
from ...model.context import AccessContext
from ...model.directory import Directory
from ...model.printed import effective_time, printed_value
from ...model.ranges import DeclaredRanges
from ...model.resource import Json, loads, reference_id
from ...model.times import CHINA, parse_fhir
from ...recognise.decide import ReportDecision
from ...recognise.rules import RuleSheet
from ...store.base import Resource, SourceRecordRow
from ..alerts import Alert, DrugClasses, cautions, critical_alerts
from ..dicom_web import study_uid
from ..labs import LabGrid, grid
from ..medication import MedicationLists, medications, with_named
from ..recognition import Hearing
from ..record import Record, member_of
from .parts import PageParts
from .withheld import Withheld, withheld_of

_CORRECTED = frozenset({"corrected", "amended"})
_MOST_CORRECTIONS = 100


@dataclass(frozen=True, slots=True)
class Opened:
    """One resident at one instant.

    answering: Study Instance UIDs whose images can be opened now. addresses: PACS address by ImagingStudy id,
    "" when the member's PACS is not connected. previous: by Observation id, the version before a correction.
    withheld: what a security label keeps from this doctor.
    """

    id: str
    record: Record
    who: AccessContext
    directory: Directory
    at: datetime
    source_records: tuple[SourceRecordRow, ...]
    freshness: dict[str, datetime]
    previous: dict[str, Json] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    answering: frozenset[str] = frozenset()
    withheld: Withheld = field(default_factory=dict)

    def member(self, resource: Json) -> str:
        """Key of the member whose system said this."""
        return member_of(resource, self.directory)

    def member_name(self, key: str) -> str:
        """Its full name; 来源未知 for resources no message made."""
        found = self.directory.members.get(key)
        return found.name if found else "来源未知"

    def says(self, resource: Json) -> str:
        """Name of the member whose system said this."""
        return self.member_name(self.member(resource))


class Derived:
    """What the rules make of an opened resident; each part is made when a page first asks for it.

    A long record holds thousands of results, and most pages show one kind of thing.
    """

    def __init__(self, opened: Opened, sheet: RuleSheet, ranges: DeclaredRanges, classes: DrugClasses) -> None:
        self._opened, self._sheet, self._ranges, self._classes = opened, sheet, ranges, classes
        self._decided: dict[str, ReportDecision] = {}

    @cached_property
    def labs(self) -> LabGrid:
        """The cumulative grid."""
        opened = self._opened
        return grid(opened.record, opened.directory, self._ranges, at=opened.at, previous=opened.previous)

    @cached_property
    def medication(self) -> MedicationLists:
        """Current and past medication."""
        return medications(self._opened.record, self._opened.directory, at=self._opened.at)

    @cached_property
    def criticals(self) -> tuple[Alert, ...]:
        """Critical results that stand, newest first."""
        opened = self._opened
        return tuple(critical_alerts(opened.record, opened.directory, self.labs, at=opened.at))

    @cached_property
    def cautions(self) -> tuple[Alert, ...]:
        """All other alerts, gravest first."""
        opened = self._opened
        return tuple(cautions(opened.record, opened.directory, self._classes, self._sheet, at=opened.at))

    @cached_property
    def reports(self) -> tuple[Json, ...]:
        """Current reports, newest first."""
        return tuple(newest_first(self._opened.record.reports))

    def decision(self, report: Json) -> ReportDecision:
        """The verdict on one report for this doctor."""
        if report["id"] not in self._decided:
            self._decided[report["id"]] = self._hearing.decision(report)
        return self._decided[report["id"]]

    @cached_property
    def _hearing(self) -> Hearing:
        opened = self._opened
        return Hearing(opened.record, self._sheet, opened.directory, opened.who, opened.answering, opened.at)


async def survivor_of(parts: PageParts, who: AccessContext, patient_id: str) -> str:
    """Id of the Patient that replaced this one, "" when it stands for itself. Raises NotFound."""
    found = await parts.store.read("Patient", patient_id, who)
    if found is None or found.deleted:
        raise NotFound("Patient", detail_zh="没有这位居民，或您无权查看。")
    for link in loads(found.body).get("link", ()):
        if link.get("type") == "replaced-by":
            return reference_id(link.get("other"), "Patient")
    return ""


async def open_resident(parts: PageParts, who: AccessContext, patient_id: str, *, images: bool = False) -> Opened:
    """The resident with all rows the caller may read. images: also ask the PACS which studies answer."""
    rows = await with_named(parts.store, await parts.store.everything(patient_id, who), who)
    record = Record.of(rows)
    if not record.patient:
        raise NotFound("Patient", detail_zh="没有这位居民，或您无权查看。")
    addresses = await _addresses(parts, who, record) if images else {}
    asked = [(study_uid(s), addresses[s["id"]]) for s in record.studies if addresses.get(s["id"])]
    return Opened(
        id=patient_id,
        record=record,
        who=who,
        directory=parts.directory,
        at=parts.clock(),
        source_records=tuple(await parts.store.records_of(patient_id)),
        freshness=await parts.store.freshness(),
        previous=await _before_correction(parts, who, record, _changed(rows)),
        addresses=addresses,
        answering=await parts.pacs.answering(asked) if asked else frozenset(),
        withheld=await withheld_of(parts.store, patient_id, who),
    )


def derive(parts: PageParts, opened: Opened) -> Derived:
    """Grid, lists, alerts and verdicts of an opened resident, by the configured rules."""
    return Derived(opened, parts.sheet, parts.ranges, parts.drug_classes)


def newest_first(resources: tuple[Json, ...]) -> list[Json]:
    """By issue time, else collection or document time, newest first."""
    return sorted(resources, key=lambda resource: instant_of(report_time(resource)), reverse=True)


def instant_of(said: str) -> datetime:
    """A FHIR time to put things in order by: members and platforms write the same moment in several time zones."""
    return parse_fhir(said) if said else datetime.min.replace(tzinfo=CHINA)


def report_time(report: Json) -> str:
    """The time by which a report is put in order, as written; "" when it has none."""
    documented = report.get("context", {}).get("period", {}).get("start")
    return str(report.get("issued") or effective_time(report) or report.get("date") or documented or "")


def is_culture(report: Json) -> bool:
    """True for microbiology reports (category MB)."""
    return "MB" in _categories(report)


def _categories(report: Json) -> set[str]:
    return {str(c.get("code", "")) for concept in report.get("category", ()) for c in concept.get("coding", ())}


def is_provisional(patient: Json) -> bool:
    """True when the person's identity still has to be decided."""
    tags = patient.get("meta", {}).get("tag", ())
    return any(t.get("system") == systems.RECORD_TAG and t.get("code") == "provisional" for t in tags)


async def _addresses(parts: PageParts, who: AccessContext, record: Record) -> dict[str, str]:
    refs = {reference_id(ref, "Endpoint") for study in record.studies for ref in study.get("endpoint", ())}
    found = await parts.store.read_many([("Endpoint", id_) for id_ in sorted(refs) if id_], who)
    active = {
        body["id"]: str(body.get("address", ""))
        for body in (loads(row.body) for row in found)
        if body.get("status") == "active"
    }
    return {study["id"]: _first(active, study) for study in record.studies}


def _first(active: dict[str, str], study: Json) -> str:
    ids = (reference_id(ref, "Endpoint") for ref in study.get("endpoint", ()))
    return next((active[id_] for id_ in ids if id_ in active), "")


def _changed(rows: list[Resource]) -> frozenset[str]:
    """Observations of more than one version: many a laboratory sends a corrected value as one more final one."""
    return frozenset(row.id for row in rows if row.type == "Observation" and row.version > 1)


async def _before_correction(
    parts: PageParts, who: AccessContext, record: Record, changed: frozenset[str]
) -> dict[str, Json]:
    out: dict[str, Json] = {}
    said = [o for o in record.observations if o.get("status") in _CORRECTED]
    unsaid = [o for o in record.observations if o.get("status") == "final" and o["id"] in changed]
    for item in (said + newest_first(tuple(unsaid)))[:_MOST_CORRECTIONS]:
        versions = await parts.store.history("Observation", item["id"], who, count=8)
        bodies = [loads(v.body) for v in versions if not v.deleted]
        before = next((b for b in bodies[1:] if printed_value(b) != printed_value(item)), None)
        if before:
            out[item["id"]] = before
    return out
