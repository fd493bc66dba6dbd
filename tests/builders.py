"""Small builders of FHIR JSON in the shapes of gateway/docs/resources.md, and the members of the stories.

Every builder takes what matters to the test and fills in the rest; extra elements go through `**more`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from gateway.model.directory import Alliance, Directory, Level, Member, Source
from gateway.model.resource import Json, dumps
from gateway.model.subject import subject_of
from gateway.model.systems import (
    ACT_CODE,
    DCM,
    EXT_CRITICAL_NOTICE,
    EXT_VERIFIED_AT,
    ID_CARD,
    INTERPRETATION,
    LOINC,
    RECOGNITION_ITEM,
    UCUM,
    V2_0074,
    local_codes,
    local_number,
    source_uri,
)
from gateway.model.times import CHINA, parse_fhir
from gateway.store.base import Resource

NOW = datetime(2026, 3, 20, 9, 0, tzinfo=CHINA)
"""The instant of the stories."""

M1, M2, M3, M4 = "city_first_hospital", "county_tcm_hospital", "county_people_hospital", "township_health_centre"
NAMES = {M1: "市第一人民医院", M2: "县中医院", M3: "县人民医院", M4: "镇卫生院"}


def the_directory() -> Directory:
    """Four members, one source each (named as its member), the county alliance inside the city group."""
    levels: dict[str, Level] = {M1: "tertiary", M2: "secondary", M3: "secondary", M4: "primary"}
    kinds = frozenset({"visits", "labs", "imaging", "images", "medication", "documents"})
    county = Alliance("qingshi_county", "青石县域医共体", M3, frozenset({M2, M3, M4}))
    city = Alliance("city_group", "市城市医疗集团", M1, frozenset({M1}), frozenset({"qingshi_county"}))
    return Directory(
        {key: Member(key, NAMES[key], level, provides=kinds) for key, level in levels.items()},
        {key: Source(key, key, form) for key, form in ((M1, "v2"), (M2, "v2"), (M3, "cda"), (M4, "csv"))},
        {county.key: county, city.key: city},
    )


def a_patient(
    id: str = "p1",
    *,
    name: str = "张三",
    gender: str = "female",
    birth: str = "1960-04-08",
    card: str = "",
    **more: object,
) -> Json:
    """A Patient with one local number at M1."""
    numbers: list[Json] = [{"system": local_number(M1), "value": "A1"}]
    if card:
        numbers.insert(0, {"system": ID_CARD, "value": card})
    return {
        "resourceType": "Patient",
        "id": id,
        "identifier": numbers,
        "name": [{"text": name}],
        "gender": gender,
        "birthDate": birth,
        **more,
    }


def a_concept(text: str, *, loinc: str = "", item: str = "", local: str = "", member: str = M1) -> Json:
    """A code: the source's own (when `local` is given), LOINC, recognition item, text."""
    codings = [{"system": local_codes(member, "items"), "code": local, "display": text}] if local else []
    codings += [{"system": LOINC, "code": loinc}] if loinc else []
    codings += [{"system": RECOGNITION_ITEM, "code": item}] if item else []
    return {"coding": codings, "text": text} if codings else {"text": text}


def a_quantity(value: str, unit: str = "", code: str = "") -> Json:
    """`a_quantity("<0.05", "ng/mL", "ng/mL")`; the digits stay as written."""
    out: Json = {}
    if value[0] in "<>":
        mark = value[:2] if value[1] == "=" else value[0]
        out["comparator"] = mark
        value = value.removeprefix(mark)
    out["value"] = Decimal(value)
    if unit:
        out["unit"] = unit
    if code:
        out |= {"system": UCUM, "code": code}
    return out


def an_observation(
    id: str = "o1",
    name: str = "肌酐",
    value: str | None = "63",
    unit: str = "μmol/L",
    *,
    loinc: str = "",
    ucum: str = "",
    local: str = "",
    member: str = M1,
    status: str = "final",
    flag: str = "",
    band: tuple[str, str] | None = None,
    band_text: str = "",
    collected: str = "2026-03-08T08:00:00+08:00",
    issued: str = "2026-03-08T10:00:00+08:00",
    told: tuple[str, str] | None = None,
    patient: str = "p1",
    **more: object,
) -> Json:
    """A laboratory item; value None = not measured, a value that is no number = valueString."""
    out: Json = {
        "resourceType": "Observation",
        "id": id,
        "meta": _meta(member),
        "status": status,
        "category": [{"coding": [{"code": "laboratory"}]}],
        "code": a_concept(name, loinc=loinc, local=local, member=member),
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": collected,
        "issued": issued,
    }
    out |= _value(value, unit, ucum)
    if flag:
        out["interpretation"] = [{"coding": [{"system": INTERPRETATION, "code": flag}]}]
    if band or band_text:
        out["referenceRange"] = [_range(band, band_text, unit)]
    if told:
        parts = [{"url": "told", "valueString": told[0]}, {"url": "at", "valueDateTime": told[1]}]
        out["extension"] = [{"url": EXT_CRITICAL_NOTICE, "extension": parts}]
    return out | more


def _value(value: str | None, unit: str, ucum: str) -> Json:
    if value is None:
        return {"dataAbsentReason": {"text": "未测"}}
    number = value.lstrip("<>=")
    if number.replace(".", "", 1).isdigit():
        return {"valueQuantity": a_quantity(value, unit, ucum)}
    return {"valueString": value}


def _range(band: tuple[str, str] | None, text: str, unit: str) -> Json:
    low, high = band or ("", "")
    out: Json = {"low": {"value": Decimal(low), "unit": unit}} if low else {}
    if high:
        out["high"] = {"value": Decimal(high), "unit": unit}
    return out | {"text": text or f"{low}-{high}"}


def a_report(
    id: str = "r1",
    name: str = "生化",
    results: Iterable[Json] = (),
    *,
    category: str = "LAB",
    member: str = M1,
    status: str = "final",
    collected: str = "2026-03-08T08:00:00+08:00",
    issued: str = "2026-03-08T10:00:00+08:00",
    verified: str = "",
    loinc: str = "",
    item: str = "",
    studies: Sequence[Json] = (),
    conclusion: str = "",
    patient: str = "p1",
    **more: object,
) -> Json:
    """A DiagnosticReport; category LAB with `results`, or CT, RAD, RUS … with `studies`."""
    out: Json = {
        "resourceType": "DiagnosticReport",
        "id": id,
        "meta": _meta(member),
        "identifier": [{"system": local_number(member, "report"), "value": id}],
        "status": status,
        "category": [{"coding": [{"system": V2_0074, "code": category}]}],
        "code": a_concept(name, loinc=loinc, item=item, member=member),
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": collected,
        "issued": issued,
    }
    references = [{"reference": f"Observation/{result['id']}"} for result in results]
    out |= {"result": references} if references else {}
    if studies:
        out["imagingStudy"] = [{"reference": f"ImagingStudy/{study['id']}"} for study in studies]
    if conclusion:
        out["conclusion"] = conclusion
    if verified:
        out["extension"] = [{"url": EXT_VERIFIED_AT, "valueDateTime": verified}]
    return out | more


def a_study(
    id: str = "s1",
    description: str = "胸部CT平扫",
    *,
    modality: str = "CT",
    body_part: str = "CHEST",
    started: str = "2026-03-10T09:30:00+08:00",
    series: int = 1,
    member: str = M1,
    patient: str = "p1",
    **more: object,
) -> Json:
    """An ImagingStudy with so many series of one image each."""
    code = {"system": DCM, "code": modality}
    return {
        "resourceType": "ImagingStudy",
        "id": id,
        "meta": _meta(member),
        "status": "available",
        "modality": [code],
        "subject": {"reference": f"Patient/{patient}"},
        "started": started,
        "description": description,
        "numberOfSeries": series,
        "series": [
            {"uid": f"2.25.{n + 1}", "number": n + 1, "modality": code, "bodySite": {"display": body_part}}
            for n in range(series)
        ],
        **more,
    }


def a_medication(
    id: str = "m1",
    drug: str = "阿司匹林",
    *,
    dose: str = "100",
    unit: str = "mg",
    frequency: str = "qd",
    days: int | None = None,
    authored: str = "2026-03-06T10:00:00+08:00",
    category: str = "outpatient",
    status: str = "active",
    member: str = M3,
    patient: str = "p1",
    **more: object,
) -> Json:
    """A MedicationRequest; days only when the source gives them."""
    out: Json = {
        "resourceType": "MedicationRequest",
        "id": id,
        "meta": _meta(member),
        "status": status,
        "intent": "order",
        "category": [{"coding": [{"code": category}]}],
        "medicationCodeableConcept": {"text": drug},
        "subject": {"reference": f"Patient/{patient}"},
        "authoredOn": authored,
        "dosageInstruction": [
            {
                "text": f"{dose} {unit} {frequency}",
                "timing": {"code": {"text": frequency}},
                "doseAndRate": [{"doseQuantity": {"value": Decimal(dose), "unit": unit}}],
            }
        ],
    }
    if days is not None:
        out["dispenseRequest"] = {"expectedSupplyDuration": {"value": days, "unit": "天", "system": UCUM, "code": "d"}}
    return out | more


def an_allergy(
    id: str = "a1",
    allergen: str = "青霉素",
    *,
    member: str = M1,
    recorded: str = "2026-01-05",
    patient: str = "p1",
    **more: object,
) -> Json:
    """A confirmed, active AllergyIntolerance."""
    return {
        "resourceType": "AllergyIntolerance",
        "id": id,
        "meta": _meta(member),
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "verificationStatus": {"coding": [{"code": "confirmed"}]},
        "category": ["medication"],
        "code": {"text": allergen},
        "patient": {"reference": f"Patient/{patient}"},
        "recordedDate": recorded,
        **more,
    }


def an_encounter(
    id: str = "e1",
    *,
    kind: str = "AMB",
    start: str = "2026-03-18",
    end: str = "",
    member: str = M4,
    patient: str = "p1",
    **more: object,
) -> Json:
    """An Encounter of class AMB, EMER or IMP."""
    period = {"start": start} | ({"end": end} if end else {})
    return {
        "resourceType": "Encounter",
        "id": id,
        "meta": _meta(member),
        "identifier": [{"system": local_number(member, "visit"), "value": id}],
        "status": "finished",
        "class": {"system": ACT_CODE, "code": kind},
        "subject": {"reference": f"Patient/{patient}"},
        "period": period,
        **more,
    }


def a_specimen(
    id: str = "sp1",
    kind: str = "血清",
    *,
    collected: str = "",
    received: str = "",
    member: str = M1,
    patient: str = "p1",
    **more: object,
) -> Json:
    """A Specimen."""
    out: Json = {
        "resourceType": "Specimen",
        "id": id,
        "meta": _meta(member),
        "type": {"text": kind},
        "subject": {"reference": f"Patient/{patient}"},
    }
    if collected:
        out["collection"] = {"collectedDateTime": collected}
    if received:
        out["receivedTime"] = received
    return out | more


def _meta(member: str) -> Json:
    return {"source": f"{source_uri(member)}#raw-1"}


def stored(resource: Json, *, at: datetime | None = None, version: int = 1, deleted: bool = False) -> Resource:
    """The resource as the store gives it; it arrived a minute after it was issued unless said otherwise."""
    issued = resource.get("issued")
    moment = at or (parse_fhir(str(issued)) + timedelta(minutes=1) if issued else NOW)
    body = b"" if deleted else dumps(resource)
    type_, id_ = str(resource["resourceType"]), str(resource["id"])
    patient = subject_of(type_, id_, body) if body else ""
    return Resource(type_, id_, version, moment, "", 0, body, deleted, patient)
