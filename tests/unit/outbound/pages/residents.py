"""Residents of the stories as the store would give them, opened for a doctor of the township health centre."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from gateway.model.context import AccessContext, Role
from gateway.model.directory import Directory, Member
from gateway.model.ranges import DeclaredRanges
from gateway.model.resource import Json
from gateway.model.systems import DICOM_UID, EXT_FINDINGS, ICD10_CN, INTERPRETATION, source_uri
from gateway.outbound import drug_classes
from gateway.outbound.alerts import DrugClasses
from gateway.outbound.dicom_web import study_uid
from gateway.outbound.pages.moments import When
from gateway.outbound.pages.opened import Derived, Opened
from gateway.outbound.pages.parts import Frame
from gateway.outbound.pages.render import render
from gateway.outbound.pages.views_banner import banner
from gateway.outbound.record import Record
from gateway.recognise.rules import RuleSheet, load
from gateway.store.base import SourceRecordRow
from tests.builders import (
    M1,
    M2,
    M3,
    M4,
    NOW,
    a_medication,
    a_patient,
    a_report,
    a_specimen,
    a_study,
    an_allergy,
    an_encounter,
    an_observation,
    stored,
    the_directory,
)

CT_IMAGE = {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"}
PROFILES = Path(__file__).parents[4] / "profiles"
DOCTOR = AccessContext("zheng", "郑医生", Role.DOCTOR, M4, "city_group")
FRAME = Frame(
    When("2026-03-20T09:00+08:00", "2026-03-20 09:00"),
    "郑医生",
    "镇卫生院",
    "市城市医疗集团",
    "诊疗",
    "09:15",
    "csrf-1",
)


@cache
def sheet() -> RuleSheet:
    """The shipped rule sheet."""
    return load(PROFILES / "recognition" / "990101-2026.yaml")


@cache
def classes() -> DrugClasses:
    """The shipped drug classes."""
    return drug_classes.load(PROFILES / "codesystem" / "drug-classes.csv")


def directory() -> Directory:
    """The four members, connected for what each of them really sends."""
    whole = the_directory()
    provides = {
        M1: {"visits", "labs", "imaging", "images"},
        M2: {"visits", "labs"},
        M3: {"visits", "labs", "imaging", "documents", "medication"},
        M4: {"visits", "labs", "medication"},
    }
    members = {key: Member(key, m.name, m.level, m.name, frozenset(provides[key])) for key, m in whole.members.items()}
    return Directory(members, whole.sources, whole.alliances)


def opened_of(
    resources: list[Json],
    *,
    numbers: int = 1,
    previous: dict[str, Json] | None = None,
    answering: bool = True,
    who: AccessContext = DOCTOR,
    arrived: dict[str, datetime] | None = None,
) -> Opened:
    """The resources of one resident, opened at the stories' instant."""
    record = Record.of(stored(r) for r in resources)
    uids = {study_uid(s) for s in record.studies}
    default = {key: NOW - timedelta(minutes=m) for key, m in ((M1, 8), (M2, 133), (M3, 29), (M4, 2))}
    rows = tuple(SourceRecordRow(i, M1, f"A{i}", record.patient["id"], b"{}", "", "") for i in range(numbers))
    return Opened(
        id=record.patient["id"],
        record=record,
        who=who,
        directory=directory(),
        at=NOW,
        source_records=rows,
        freshness=default if arrived is None else arrived,
        previous=previous or {},
        addresses={s["id"]: "http://127.0.0.1:9/studies" for s in record.studies},
        answering=frozenset(uids if answering else ()),
    )


def derived_of(opened: Opened, ranges: DeclaredRanges | None = None) -> Derived:
    """What the rules make of them."""
    return Derived(opened, sheet(), ranges or DeclaredRanges(), classes())


def page(template: str, opened: Opened, tab: str = "", **values: object) -> str:
    """One page of the resident as HTML."""
    shown = banner(opened, tab)
    base = f"/ui/p/{opened.id}"
    return render(template, frame=FRAME, banner=shown, page_title="页", base=base, **values)


def a_condition(id: str, text: str, code: str, *, member: str = M3, at: str = "2026-02-20", visit: str = "") -> Json:
    """A diagnosis with its ICD-10 code."""
    out: Json = {
        "resourceType": "Condition",
        "id": id,
        "meta": {"source": f"{source_uri(member)}#raw-1"},
        "code": {"coding": [{"system": ICD10_CN, "code": code}], "text": text},
        "subject": {"reference": "Patient/p1"},
        "recordedDate": at,
    }
    return out | ({"encounter": {"reference": f"Encounter/{visit}"}} if visit else {})


def wu_defu() -> list[Json]:
    """Story 9: aspirin twice, a stay of 14 days."""
    return [
        a_patient(
            name="吴德福", gender="male", birth="1942-01-15", card="990101194201150996",
            address=[{"district": "青石镇", "line": ["石桥村"]}], telecom=[{"system": "phone", "value": "13900002216"}],
        ),
        an_encounter("e1", kind="IMP", start="2026-02-20", end="2026-03-06", member=M3, type=[{"text": "神经内科"}]),
        an_encounter("e2", start="2026-03-18T08:30:00+08:00", reasonCode=[{"text": "续方"}]),
        a_condition("c1", "脑梗死", "I63.900", visit="e1"),
        a_medication("m1", days=30, category="discharge"),
        a_medication("m2", "阿托伐他汀", dose="20", frequency="qn", category="discharge"),
        a_medication("m3", authored="2026-03-18T09:00:00+08:00", member=M4),
    ]  # fmt: skip


def li_jianguo() -> list[Json]:
    """Story 1: allergic to penicillin, prescribed amoxicillin."""
    return [
        a_patient(name="李建国", gender="male", birth="1958-03-12", card="990101195803120115"),
        an_allergy(),
        a_medication(
            "m1", "阿莫西林", dose="0.5", unit="g", frequency="tid", authored="2026-03-19T10:00:00+08:00", member=M4
        ),
    ]


def chen_ming() -> tuple[list[Json], dict[str, Json]]:
    """Story 3: potassium 6.8 corrected to 4.2; the resources and the version before."""
    before = an_observation("k", "钾", "6.8", "mmol/L", loinc="2823-3", ucum="mmol/L", flag="HH", band=("3.5", "5.3"))
    after = an_observation(
        "k", "钾", "4.2", "mmol/L", loinc="2823-3", ucum="mmol/L", band=("3.5", "5.3"), status="corrected",
        issued="2026-03-20T08:55:00+08:00", collected="2026-03-20T08:00:00+08:00",
    )  # fmt: skip
    report = a_report("r1", "电解质", [after], status="corrected", issued="2026-03-20T08:55:00+08:00")
    patient = a_patient(name="陈明", gender="male", birth="1971-09-02", card="990101197109020332")
    return [patient, after, report], {"k": before}


def liu_guilan() -> list[Json]:
    """Story 4: creatinine in two units, HbA1c on two rows."""
    specimen = a_specimen("sp1", collected="2026-03-12T07:40:00+08:00", received="2026-03-12T08:05:00+08:00", member=M2)
    m2 = {"member": M2, "issued": "2026-03-12T10:32:00+08:00", "collected": "2026-03-12T07:40:00+08:00"}
    m1 = {"issued": "2026-03-18T10:32:00+08:00", "collected": "2026-03-18T07:40:00+08:00"}
    mine = [
        an_observation(
            "o1", "肌酐", "106", "μmol/L", loinc="14682-9", ucum="umol/L", flag="H", band=("41", "81"), **m1
        ),
        an_observation("o2", "糖化血红蛋白", "6.8", "%", loinc="4548-4", ucum="%", flag="H", band=("4.0", "6.0"), **m1),
    ]
    theirs = [
        an_observation(
            "o3", "肌酐", "1.20", "mg/dL", loinc="2160-0", ucum="mg/dL", flag="H", band=("0.50", "1.10"),
            method={"text": "苦味酸法"}, specimen={"reference": "Specimen/sp1"}, **m2,
        ),
        an_observation("o4", "血红蛋白", "132", "G/L", loinc="718-7", ucum="g/L", band=("115", "150"), **m2),
        an_observation("o5", "白细胞", "6.5", "G/L", loinc="6690-2", ucum="10*9/L", band=("3.5", "9.5"), **m2),
        an_observation(
            "o6", "糖化血红蛋白", "51", "mmol/mol", loinc="59261-8", ucum="mmol/mol", flag="H", band=("20", "42"), **m2
        ),
        an_observation("o7", "X-9981", "3", "", local="X-9981", **m2),
    ]  # fmt: skip
    return [
        a_patient(name="刘桂兰", birth="1949-11-18", card="990101194911180444"),
        specimen,
        *mine,
        *theirs,
        a_report("r1", "生化", mine, **m1),
        a_report("r2", "生化", theirs, **m2, verified="2026-03-12T10:20:00+08:00"),
    ]


def zhao_li() -> list[Json]:
    """Story 6: platelets 18, told at 15:32."""
    plt = an_observation(
        "o1", "血小板", "18", "×10⁹/L", loinc="777-3", ucum="10*9/L", flag="LL", band=("125", "350"), member=M3,
        issued="2026-03-19T15:30:00+08:00", collected="2026-03-19T14:00:00+08:00",
        told=("周医生", "2026-03-19T15:32:00+08:00"),
    )  # fmt: skip
    report = a_report("r1", "血常规", [plt], member=M3, issued="2026-03-19T15:30:00+08:00")
    return [a_patient(name="赵丽", birth="1986-02-14", card="990101198602140666"), plt, report]


def wang_xiuying() -> list[Json]:
    """Story 2: plain CT twice within four days, contrast CT is no repeat."""

    def study(id: str, uid: str, text: str, started: str, series: int) -> Json:
        made = a_study(id, text, started=started, series=series)
        made["identifier"] = [{"system": DICOM_UID, "value": f"urn:oid:{uid}"}]
        for one in made["series"]:
            one["instance"] = [{"uid": f"{one['uid']}.{n}", "sopClass": CT_IMAGE, "number": n} for n in (1, 2, 3)]
        return made

    s1 = study("s1", "2.25.100", "胸部CT平扫", "2026-03-10T09:30:00+08:00", 2)
    s2 = study("s2", "2.25.200", "胸部CT增强", "2026-03-15T09:30:00+08:00", 1)
    said = {"url": EXT_FINDINGS, "valueString": "胸廓对称。右肺上叶见一直径约 5 mm 实性结节，边界清楚。"}
    r1 = a_report(
        "r1", "胸部CT平扫", category="CT", studies=[s1],
        conclusion="右肺上叶小结节，建议随访。", item="HR-CT-CHEST-PLAIN",
        collected="2026-03-10T09:30:00+08:00", issued="2026-03-10T11:20:00+08:00", extension=[said],
    )  # fmt: skip
    r2 = a_report(
        "r2", "胸部CT平扫", category="CT", member=M3, conclusion="右肺上叶小结节。", item="HR-CT-CHEST-PLAIN",
        collected="2026-03-14T09:30:00+08:00", issued="2026-03-14T11:20:00+08:00",
    )  # fmt: skip
    r3 = a_report(
        "r3", "胸部CT增强", category="CT", studies=[s2], conclusion="结节未见强化。", item="HR-CT-CHEST-ENHANCED",
        collected="2026-03-15T09:30:00+08:00", issued="2026-03-15T10:05:00+08:00",
    )  # fmt: skip
    return [a_patient(name="王秀英", birth="1963-07-25", card="990101196307250222"), s1, s2, r1, r2, r3]


def zhou_min() -> list[Json]:
    """Story 8: E. coli, ceftriaxone R, amikacin S."""

    def drug(id: str, name: str, value: str, code: str) -> Json:
        return an_observation(
            id, name, value, "mg/L", method={"text": "MIC"},
            interpretation=[{"coding": [{"system": INTERPRETATION, "code": code}]}],
        )  # fmt: skip

    drugs = [drug("d1", "头孢曲松", ">=64", "R"), drug("d2", "阿米卡星", "<=2", "S")]
    isolate = an_observation(
        "i1", "分离菌", None, valueCodeableConcept={"text": "大肠埃希菌"},
        hasMember=[{"reference": f"Observation/{d['id']}"} for d in drugs],
    )  # fmt: skip
    isolate.pop("dataAbsentReason", None)
    culture = an_observation(
        "c1", "血培养", None, valueCodeableConcept={"text": "大肠埃希菌"},
        hasMember=[{"reference": "Observation/i1"}], issued="2026-03-17T16:05:00+08:00",
    )  # fmt: skip
    culture.pop("dataAbsentReason", None)
    report = a_report("r1", "血培养", [culture], issued="2026-03-17T16:05:00+08:00")
    report["category"].append({"coding": [{"code": "MB"}]})
    return [a_patient(name="周敏", birth="1967-10-01", card="990101196710010886"), *drugs, isolate, culture, report]


def lin_fang() -> list[Json]:
    """Story 7: a person without a single clinical row."""
    return [a_patient(name="林芳", birth="1991-01-19", card="99010119910119122X")]
