"""One person's resources, parsed once, with typed access: what pages, alerts and operations read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ..model.directory import Directory
from ..model.resource import Json, loads, reference_id
from ..model.systems import source_of
from ..store.base import Resource

_VOID = frozenset({"entered-in-error"})
_VOID_BY_TYPE = {
    "ServiceRequest": frozenset({"entered-in-error", "revoked"}),
    "DocumentReference": frozenset({"entered-in-error", "superseded"}),
    "ImagingStudy": frozenset({"entered-in-error", "cancelled"}),
    "Encounter": frozenset({"entered-in-error", "cancelled"}),
}


@dataclass(frozen=True, slots=True)
class Record:
    """All of one resident.

    every: all resources by type, in the order given (also entered-in-error and replaced ones).
    by_ref: the same by `Type/id`. arrived: when the present version reached the gateway, by `Type/id`.
    The properties give current ones: not entered-in-error, not revoked requests, not superseded documents.
    Cancelled reports and items stay: a doctor must see that they were cancelled.
    """

    every: Mapping[str, tuple[Json, ...]]
    by_ref: Mapping[str, Json]
    arrived: Mapping[str, datetime]
    _report_of: Mapping[str, str]
    _numbered: Mapping[tuple[str, str], frozenset[str]]

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Record:
        """From what `Store.everything` gave; deleted ones are left out."""
        every: dict[str, list[Json]] = {}
        by_ref: dict[str, Json] = {}
        arrived: dict[str, datetime] = {}
        for row in resources:
            if row.deleted:
                continue
            body = loads(row.body)
            every.setdefault(row.type, []).append(body)
            by_ref[f"{row.type}/{row.id}"] = body
            arrived[f"{row.type}/{row.id}"] = row.at
        return cls(
            {key: tuple(value) for key, value in every.items()}, by_ref, arrived, _reports_of(every), _by_number(every)
        )

    def current(self, type_: str) -> tuple[Json, ...]:
        """Resources of a type that are neither void nor replaced."""
        void = _VOID_BY_TYPE.get(type_, _VOID)
        return tuple(found for found in self.every.get(type_, ()) if not is_void(found, void))

    @property
    def patient(self) -> Json:
        """The Patient; the active one where a superseded one came along, {} when the record has none."""
        patients = self.every.get("Patient", ())
        return next((p for p in patients if p.get("active", True)), patients[0] if patients else {})

    @property
    def observations(self) -> tuple[Json, ...]:
        """Current Observations."""
        return self.current("Observation")

    @property
    def reports(self) -> tuple[Json, ...]:
        """Current DiagnosticReports."""
        return self.current("DiagnosticReport")

    @property
    def studies(self) -> tuple[Json, ...]:
        """Current ImagingStudies."""
        return self.current("ImagingStudy")

    @property
    def encounters(self) -> tuple[Json, ...]:
        """Current Encounters."""
        return self.current("Encounter")

    @property
    def medications(self) -> tuple[Json, ...]:
        """Current MedicationRequests, also completed and stopped ones."""
        return self.current("MedicationRequest")

    @property
    def allergies(self) -> tuple[Json, ...]:
        """AllergyIntolerances that are neither refuted nor entered in error; also the "no known allergy" entry."""
        refuted = {"refuted", "entered-in-error"}
        return tuple(a for a in self.current("AllergyIntolerance") if not refuted & _codes(a.get("verificationStatus")))

    @property
    def conditions(self) -> tuple[Json, ...]:
        """Conditions that are neither refuted nor entered in error."""
        refuted = {"refuted", "entered-in-error"}
        return tuple(c for c in self.current("Condition") if not refuted & _codes(c.get("verificationStatus")))

    @property
    def documents(self) -> tuple[Json, ...]:
        """Current DocumentReferences; superseded ones are in `every`."""
        return self.current("DocumentReference")

    @property
    def specimens(self) -> tuple[Json, ...]:
        """Current Specimens."""
        return self.current("Specimen")

    @property
    def tasks(self) -> tuple[Json, ...]:
        """Current Tasks."""
        return self.current("Task")

    def get(self, reference: object) -> Json | None:
        """The resource a FHIR Reference (or "Type/id") points to, None when it is not in this record."""
        text = reference.get("reference", "") if isinstance(reference, dict) else reference
        parts = str(text or "").split("/_history/")[0].split("/")
        return self.by_ref.get("/".join(parts[-2:]))

    def items_of(self, report: Json) -> tuple[Json, ...]:
        """Current Observations of a report, in the report's order; the items of a panel in place of its heading."""
        items = self._current(report.get("result", ()))
        if is_culture(report):
            return items
        return tuple({id(single): single for item in items for single in self._singles(item)}.values())

    def _singles(self, item: Json) -> tuple[Json, ...]:
        return (is_panel(item) and self._current(item["hasMember"])) or (item,)

    def _current(self, references: Iterable[object]) -> tuple[Json, ...]:
        found = (self.get(reference) for reference in references)
        return tuple(item for item in found if item is not None and not is_void(item))

    def studies_of(self, report: Json) -> tuple[Json, ...]:
        """Current ImagingStudies of a report: those it names, and those under its accession number.

        Most RIS know the accession number alone; who has only the Study Instance UID names the study itself.
        """
        named = {reference_id(ref, "ImagingStudy") for ref in report.get("imagingStudy", ())}
        for number in _accessions(report):
            named |= self._numbered.get(number, frozenset())
        return tuple(s for s in self.studies if s["id"] in named) if named else ()

    def report_of(self, observation: Json) -> Json | None:
        """The current report that lists this Observation in `result`."""
        return self.by_ref.get(self._report_of.get(str(observation.get("id", "")), ""))


def _by_number(every: Mapping[str, list[Json]]) -> dict[tuple[str, str], frozenset[str]]:
    """Ids of ImagingStudies by accession number."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for study in every.get("ImagingStudy", ()):
        for number in _accessions(study):
            found[number] = found.get(number, frozenset()) | {study["id"]}
    return found


def _accessions(resource: Json) -> set[tuple[str, str]]:
    """Accession numbers, each in the system of its member."""
    return {
        (str(one.get("system", "")), str(one.get("value", "")))
        for one in resource.get("identifier", ())
        if one.get("value") and "ACSN" in _codes(one.get("type"))
    }


def is_void(resource: Json, void: frozenset[str] = _VOID) -> bool:
    """True when the status says that the resource does not count any more."""
    return resource.get("status") in void


def is_culture(report: Json) -> bool:
    """True for microbiology reports (category MB)."""
    return any("MB" in _codes(concept) for concept in report.get("category", ()))


def is_panel(observation: Json) -> bool:
    """True for a heading over single results, without a value of its own (a culture says what grew)."""
    return "hasMember" in observation and not any(key.startswith("value") for key in observation)


def member_of(resource: Json, directory: Directory) -> str:
    """Member key of the source that said so (`meta.source`); "" for what a client created."""
    source, _ = source_of(str(resource.get("meta", {}).get("source", "")))
    return directory.member_of(source)


def member_name(member: str, directory: Directory) -> str:
    """The member's name as doctors read it; 来源未知 for a member nobody registered."""
    found = directory.members.get(member)
    return found.name if found else "来源未知"


def _reports_of(every: Mapping[str, list[Json]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for report in every.get("DiagnosticReport", ()):
        if is_void(report):
            continue
        for reference in report.get("result", ()):
            _, _, observation = str(reference.get("reference", "")).rpartition("Observation/")
            found.setdefault(observation, f"DiagnosticReport/{report.get('id', '')}")
    for panel in filter(is_panel, every.get("Observation", ())):
        if (home := found.get(str(panel.get("id")))) is not None:
            found |= dict.fromkeys(_members(panel), home)
    return found


def _members(panel: Json) -> list[str]:
    return [str(one.get("reference", "")).rpartition("Observation/")[2] for one in panel["hasMember"]]


def _codes(concept: object) -> set[str]:
    return {str(c.get("code", "")) for c in concept.get("coding", ())} if isinstance(concept, dict) else set()
