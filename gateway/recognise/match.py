"""Which recognition item a result is: by recognition code, LOINC, or exact name; never by part of a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..model.resource import Json
from ..model.systems import LOINC, RECOGNITION_ITEM
from .listing import Kind, RuleItem, RuleSheet, normal_name

_LABORATORY = frozenset(
    {"LAB", "laboratory", "BG", "BLB", "CH", "HM", "IMM", "MB", "MCB", "MYC", "SR", "TX", "VR"},
)
_EXAMINATIONS = frozenset({"RAD", "RX", "CT", "NMR", "NMS", "RUS", "OUS", "VUS", "CUS", "CTH", "EC", "EN", "XRC"})


def item_of_observation(observation: Json, sheet: RuleSheet) -> RuleItem | None:
    """The laboratory item an Observation is. A LOINC the sheet does not list is not overruled by a name."""
    return _of_concept(observation.get("code", {}), "lab", sheet)


def only_named(observation: Json) -> bool:
    """True when nothing but its name tells what it is: names leave out what was measured in."""
    concept = observation.get("code", {})
    return not (codes_in(concept, RECOGNITION_ITEM) or codes_in(concept, LOINC))


def item_of_report(report: Json, studies: Sequence[Json], sheet: RuleSheet) -> RuleItem | None:
    """The examination a report is; without a code or name of its own, what its study is described as."""
    found = _of_concept(report.get("code", {}), "examination", sheet)
    if found is not None or codes_in(report.get("code", {}), LOINC):
        return found
    for study in studies:
        texts = [study.get("description"), *(code.get("text") for code in study.get("procedureCode", ()))]
        for text in filter(None, texts):
            found = found or sheet.named("examination", str(text))
    return found


def shows_other_part(item: RuleItem, studies: Sequence[Json]) -> bool:
    """True when the images state modalities or body parts and none of them is the item's."""
    modalities = {str(m.get("code", "")) for study in studies for m in study.get("modality", ())}
    parts = {normal_name(part) for study in studies for part in _parts(study)}
    return _strange(modalities, item.modalities) or _strange(parts, item.body_parts)


def _strange(stated: set[str], wanted: tuple[str, ...]) -> bool:
    known = stated - {""}
    return bool(known and wanted and not known & set(wanted))


def _parts(study: Json) -> Iterator[str]:
    for series in study.get("series", ()):
        site = series.get("bodySite", {})
        yield str(site.get("display") or site.get("code") or "")


def is_lab(report: Json) -> bool:
    """True for reports of the laboratory (v2-0074 LAB and its branches)."""
    return bool(_categories(report) & _LABORATORY)


def is_examination(report: Json) -> bool:
    """True for reports of imaging and of electrophysiology, also where they list what was measured."""
    return bool(_categories(report) & _EXAMINATIONS)


def _categories(report: Json) -> set[str]:
    return {str(c.get("code", "")) for concept in report.get("category", ()) for c in concept.get("coding", ())}


def name_of(resource: Json) -> str:
    """The name as the source prints it."""
    code = resource.get("code", {})
    return str(code.get("text") or next((c["display"] for c in code.get("coding", ()) if c.get("display")), ""))


def _of_concept(concept: Json, kind: Kind, sheet: RuleSheet) -> RuleItem | None:
    for code in codes_in(concept, RECOGNITION_ITEM):
        if (item := sheet.items.get(code)) is not None and item.kind == kind:
            return item
    loincs = codes_in(concept, LOINC)
    if loincs:
        return _first(sheet.by_loinc.get(code) for code in loincs)
    names = [concept.get("text"), *(c.get("display") for c in concept.get("coding", ()))]
    return _first(sheet.named(kind, str(name)) for name in names if name)


def codes_in(concept: Json, system: str) -> list[str]:
    """Codes of a CodeableConcept in one system."""
    return [str(c["code"]) for c in concept.get("coding", ()) if c.get("system") == system and c.get("code")]


def _first(found: Iterable[RuleItem | None]) -> RuleItem | None:
    return next((item for item in found if item is not None), None)
