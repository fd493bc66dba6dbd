"""Train the zstd dictionary that ships in the wheel, on made-up resources only (design-store §6).

    python scripts/train_dictionary.py [--size 65536] [--residents 400] [--seed 7]

Writes `gateway/store/dictionaries/<version>-<hash>.zdict` and says how well it packs resources it has not
seen. A dictionary is never replaced in place: bodies written with it name it.
"""

# ruff: noqa: E501 - tables of made-up values read better in one line
from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard

from gateway.model import systems
from gateway.model.ids import Ids
from gateway.model.resource import dumps
from gateway.model.times import CHINA
from gateway.store.bodies import LEVEL, dictionary_hash, kept_meta, strip

Json = dict[str, Any]
FOLDER = Path(__file__).resolve().parent.parent / "gateway" / "store" / "dictionaries"
MEMBERS = (
    ("city_first_hospital", "市第一人民医院"), ("county_tcm_hospital", "县中医院"),
    ("county_people_hospital", "县人民医院"), ("township_health_centre", "镇卫生院"),
    ("city_maternity_hospital", "市妇幼保健院"), ("district_second_hospital", "区第二人民医院"),
)  # fmt: skip
LABS = (
    ("K", "钾", "2823-3", "mmol/L", 3.5, 5.3, 2), ("NA", "钠", "2951-2", "mmol/L", 137, 147, 1),
    ("CL", "氯", "2075-0", "mmol/L", 99, 110, 1), ("CA", "钙", "2000-8", "mmol/L", 2.11, 2.52, 2),
    ("CREA", "肌酐", "14682-9", "μmol/L", 57, 111, 0), ("UREA", "尿素", "22664-7", "mmol/L", 3.1, 8.0, 2),
    ("UA", "尿酸", "14933-6", "μmol/L", 208, 428, 0), ("GLU", "葡萄糖", "14749-6", "mmol/L", 3.9, 6.1, 2),
    ("ALT", "丙氨酸氨基转移酶", "1742-6", "U/L", 9, 50, 0), ("AST", "天门冬氨酸氨基转移酶", "1920-8", "U/L", 15, 40, 0),
    ("GGT", "γ-谷氨酰转移酶", "2324-2", "U/L", 10, 60, 0), ("ALP", "碱性磷酸酶", "6768-6", "U/L", 45, 125, 0),
    ("TP", "总蛋白", "2885-2", "g/L", 65, 85, 1), ("ALB", "白蛋白", "1751-7", "g/L", 40, 55, 1),
    ("TBIL", "总胆红素", "14631-6", "μmol/L", 0, 26, 1), ("DBIL", "直接胆红素", "14629-0", "μmol/L", 0, 8, 1),
    ("CHOL", "总胆固醇", "14647-2", "mmol/L", 0, 5.18, 2), ("TG", "甘油三酯", "14927-8", "mmol/L", 0, 1.7, 2),
    ("HDL", "高密度脂蛋白胆固醇", "14646-4", "mmol/L", 1.16, 1.42, 2), ("LDL", "低密度脂蛋白胆固醇", "22748-8", "mmol/L", 0, 3.37, 2),
    ("WBC", "白细胞计数", "6690-2", "10*9/L", 3.5, 9.5, 2), ("RBC", "红细胞计数", "789-8", "10*12/L", 4.3, 5.8, 2),
    ("HGB", "血红蛋白", "718-7", "g/L", 130, 175, 0), ("PLT", "血小板计数", "777-3", "10*9/L", 125, 350, 0),
    ("NEUT%", "中性粒细胞百分比", "770-8", "%", 40, 75, 1), ("LYMPH%", "淋巴细胞百分比", "736-9", "%", 20, 50, 1),
    ("PCT", "血小板压积", "51637-7", "%", 0.11, 0.28, 2), ("CRP", "C反应蛋白", "1988-5", "mg/L", 0, 10, 1),
    ("HBA1C", "糖化血红蛋白", "4548-4", "%", 4, 6, 1), ("TSH", "促甲状腺激素", "3016-3", "mIU/L", 0.27, 4.2, 3),
    ("FT4", "游离甲状腺素", "14920-3", "pmol/L", 12, 22, 2), ("TNI", "肌钙蛋白I", "10839-9", "ng/mL", 0, 0.04, 3),
)  # fmt: skip
DRUGS = ("阿司匹林肠溶片", "阿托伐他汀钙片", "二甲双胍片", "氨氯地平片", "缬沙坦胶囊", "美托洛尔缓释片", "阿莫西林胶囊",
         "头孢克肟分散片", "布洛芬缓释胶囊", "奥美拉唑肠溶胶囊", "格列美脲片", "硝苯地平控释片", "复方丹参滴丸")  # fmt: skip
DIAGNOSES = (("I10.x00", "原发性高血压"), ("E11.900", "2型糖尿病"), ("I63.900", "脑梗死"), ("J18.900", "肺炎"),
             ("K29.500", "慢性胃炎"), ("J06.900", "急性上呼吸道感染"), ("I25.100", "冠状动脉粥样硬化性心脏病"))  # fmt: skip
STUDIES = (("CT", "胸部CT平扫", "24627-2", "两肺纹理增多，右肺上叶见小结节影，直径约{}mm，边界清。纵隔未见肿大淋巴结。"),
           ("US", "甲状腺彩超", "24842-7", "甲状腺大小形态正常，左叶探及低回声结节，大小约{}mm，边界清，血流信号稀疏。"),
           ("DX", "胸部正位片", "36643-5", "两肺野清晰，心影大小形态正常，双侧肋膈角锐利，隔高{}mm。"),
           ("MR", "头颅MRI平扫", "24590-2", "脑实质内见多发点状长T2信号，大者约{}mm，脑室系统不大，中线居中。"))  # fmt: skip
SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程"
GIVEN = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂华建国志文玉梅红春燕淑珍德福晓浩然佳怡子轩"


class Resident:
    """One made-up resident and everything their hospitals wrote about them."""

    def __init__(self, rnd: random.Random, ids: Ids, number: int) -> None:
        self.rnd, self.ids, self.number = rnd, ids, number
        self.id = ids.of("Patient", str(number))
        self.name = rnd.choice(SURNAMES) + "".join(rnd.sample(GIVEN, rnd.choice((1, 2, 2))))
        self.subject = {"reference": f"Patient/{self.id}"}

    def all(self, visits: int = 2) -> Iterator[Json]:
        """Patient, then visits with reports, items, images, prescriptions and documents."""
        yield self.patient()
        for visit in range(visits):
            yield from self.visit(visit)

    def patient(self) -> Json:
        """The Patient as resources.md shapes it."""
        rnd = self.rnd
        member, hospital = rnd.choice(MEMBERS)
        born = datetime(1935, 1, 1) + timedelta(days=rnd.randrange(29000))
        identifiers = [
            {"system": systems.ID_CARD, "value": f"99{rnd.randrange(10000):04d}{born:%Y%m%d}{rnd.randrange(10000):04d}",
             "type": _coding(systems.V2_0203, "NI")},
            {"system": systems.local_number(member), "value": f"A{rnd.randrange(10**6):06d}",
             "type": _coding(systems.V2_0203, "MR"), "assigner": {"display": hospital}},
        ]  # fmt: skip
        address = {"use": "home", "text": f"某县某镇某村{rnd.randrange(1, 400)}号", "city": "某县", "district": "某镇",
                   "line": ["某村"]}  # fmt: skip
        return {
            "resourceType": "Patient", "id": self.id, "active": True, "identifier": identifiers,
            "name": [{"text": self.name}], "telecom": [{"system": "phone", "value": f"199{rnd.randrange(10**8):08d}"}],
            "gender": rnd.choice(("male", "female")), "birthDate": f"{born:%Y-%m-%d}", "address": [address],
            "managingOrganization": self.organization(member, hospital),
        }  # fmt: skip

    def visit(self, visit: int) -> Iterator[Json]:
        """One encounter and what belongs to it."""
        rnd = self.rnd
        member, hospital = rnd.choice(MEMBERS)
        place = self.organization(member, hospital)
        at = datetime(2022, 1, 1, tzinfo=CHINA) + timedelta(minutes=rnd.randrange(2_000_000))
        doctor = {"display": rnd.choice(SURNAMES) + "医生"}
        encounter = {"reference": f"Encounter/{self.make_id('Encounter', visit)}"}
        icd, diagnosis = rnd.choice(DIAGNOSES)
        code = {"coding": [{"system": systems.ICD10_CN, "code": icd}], "text": diagnosis}
        yield {
            "resourceType": "Encounter", "id": self.make_id("Encounter", visit),
            "identifier": [{"system": systems.local_number(member, "visit"), "value": f"V{rnd.randrange(10**8)}"}],
            "status": "finished", "class": {"system": systems.ACT_CODE, "code": rnd.choice(("AMB", "EMER", "IMP"))},
            "type": [{"text": rnd.choice(("内科门诊", "急诊", "住院", "全科门诊"))}], "subject": self.subject,
            "participant": [{"individual": doctor}], "period": {"start": _time(at), "end": _time(at, 40)},
            "reasonCode": [code], "serviceProvider": place,
        }  # fmt: skip
        yield {
            "resourceType": "Condition", "id": self.make_id("Condition", visit),
            "clinicalStatus": _coding(systems.CONDITION_CLINICAL, "active"),
            "category": [_coding(systems.CONDITION_CATEGORY, "encounter-diagnosis")], "code": code,
            "subject": self.subject, "encounter": encounter, "recordedDate": _time(at),
        }  # fmt: skip
        yield from self.lab_report(visit, member, place, at, encounter)
        yield from self.vital_signs(visit, member, at, encounter)
        yield from self.prescriptions(visit, at, encounter, doctor)
        yield from self.examination(visit, member, place, at, doctor)
        yield self.document(visit, member, place, at, doctor)
        yield self.provenance(visit, place, at)

    def lab_report(self, visit: int, member: str, place: Json, at: datetime, encounter: Json) -> Iterator[Json]:
        """ServiceRequest, Specimen, DiagnosticReport and its items."""
        rnd = self.rnd
        items = rnd.sample(LABS, rnd.randrange(6, 20))
        report = self.make_id("DiagnosticReport", visit)
        specimen = {"reference": f"Specimen/{self.make_id('Specimen', visit)}"}
        order = {"reference": f"ServiceRequest/{self.make_id('ServiceRequest', visit)}"}
        panel = {"coding": [{"system": systems.local_codes(member, "panel"), "code": "SH20"}], "text": "生化全套"}
        yield {
            "resourceType": "ServiceRequest", "id": self.make_id("ServiceRequest", visit), "status": "completed",
            "identifier": [{"system": systems.local_number(member, "order"), "value": f"O{rnd.randrange(10**9)}"}],
            "intent": "order", "code": panel, "subject": self.subject, "authoredOn": _time(at),
            "requester": {"display": rnd.choice(SURNAMES) + "医生"},
        }  # fmt: skip
        yield {
            "resourceType": "Specimen", "id": self.make_id("Specimen", visit), "type": {"text": "血清"},
            "subject": self.subject, "receivedTime": _time(at, 25), "collection": {"collectedDateTime": _time(at, 5)},
            "accessionIdentifier": {"system": systems.local_number(member, "specimen"), "value": f"S{rnd.randrange(10**9)}"},
        }  # fmt: skip
        results = [{"reference": f"Observation/{self.make_id('Observation', visit, n)}"} for n in range(len(items))]
        yield {
            "resourceType": "DiagnosticReport", "id": report,
            "extension": [{"url": systems.EXT_VERIFIED_AT, "valueDateTime": _time(at, 80)}],
            "identifier": [{"system": systems.local_number(member, "report"), "value": f"R{rnd.randrange(10**9)}"}],
            "basedOn": [order], "status": "final", "category": [_coding(systems.V2_0074, "LAB")], "code": panel,
            "subject": self.subject, "encounter": encounter, "effectiveDateTime": _time(at, 5), "issued": _time(at, 90),
            "performer": [place], "resultsInterpreter": [{"display": rnd.choice(SURNAMES) + "技师"}],
            "specimen": [specimen], "result": results,
        }  # fmt: skip
        for n, item in enumerate(items):
            yield self.lab_item(visit, n, member, place, at, specimen, encounter, item)

    def lab_item(
        self, visit: int, n: int, member: str, place: Json, at: datetime, specimen: Json, encounter: Json, item: Any
    ) -> Json:
        """One laboratory Observation."""
        short, name, loinc, unit, low, high, digits = item
        value = self.rnd.gauss((low + high) / 2, (high - low) / 3)
        flag = "H" if value > high else "L" if value < low else "N"
        quantity = {"unit": unit, "system": systems.UCUM, "code": unit.replace("μ", "u")}
        out = {
            "resourceType": "Observation", "id": self.make_id("Observation", visit, n),
            "status": "final", "category": [_coding(systems.OBSERVATION_CATEGORY, "laboratory")],
            "code": {"coding": [{"system": systems.local_codes(member, "lab"), "code": short, "display": name},
                                {"system": systems.LOINC, "code": loinc},
                                {"system": systems.RECOGNITION_ITEM, "code": short}], "text": name},
            "subject": self.subject, "encounter": encounter, "effectiveDateTime": _time(at, 5), "issued": _time(at, 90),
            "performer": [place], "valueQuantity": {"value": round(abs(value), digits) or 1, **quantity},
            "specimen": specimen,
            "referenceRange": [{"low": {"value": low, **quantity}, "high": {"value": high, **quantity}, "text": f"{low}-{high}"}],
        }  # fmt: skip
        if flag != "N":
            out["interpretation"] = [_coding(systems.INTERPRETATION, flag)]
        return out

    def vital_signs(self, visit: int, member: str, at: datetime, encounter: Json) -> Iterator[Json]:
        """Blood pressure and weight."""
        rnd = self.rnd
        base = {
            "status": "final", "category": [_coding(systems.OBSERVATION_CATEGORY, "vital-signs")],
            "subject": self.subject, "encounter": encounter, "effectiveDateTime": _time(at),
        }  # fmt: skip
        mmhg = {"unit": "mmHg", "system": systems.UCUM, "code": "mm[Hg]"}
        yield {
            "resourceType": "Observation", "id": self.make_id("Observation", visit, "bp"), **base,
            "code": {"coding": [{"system": systems.LOINC, "code": "85354-9"}], "text": "血压"},
            "component": [
                {"code": _coding(systems.LOINC, "8480-6"), "valueQuantity": {"value": rnd.randrange(100, 180), **mmhg}},
                {"code": _coding(systems.LOINC, "8462-4"), "valueQuantity": {"value": rnd.randrange(60, 110), **mmhg}},
            ],
        }  # fmt: skip
        yield {
            "resourceType": "Observation", "id": self.make_id("Observation", visit, "weight"), **base,
            "code": {"coding": [{"system": systems.local_codes(member, "vital"), "code": "体重"},
                                {"system": systems.LOINC, "code": "29463-7"}], "text": "体重"},
            "valueQuantity": {"value": rnd.randrange(40, 100), "unit": "kg", "system": systems.UCUM, "code": "kg"},
        }  # fmt: skip

    def prescriptions(self, visit: int, at: datetime, encounter: Json, doctor: Json) -> Iterator[Json]:
        """A few MedicationRequests."""
        for n, drug in enumerate(self.rnd.sample(DRUGS, self.rnd.randrange(1, 4))):
            dose = {"value": self.rnd.choice((5, 10, 20, 100, 250, 500)), "unit": "mg"}
            yield {
                "resourceType": "MedicationRequest", "id": self.make_id("MedicationRequest", visit, n),
                "status": "active", "intent": "order", "category": [_coding("http://terminology.hl7.org/CodeSystem/medicationrequest-category", "outpatient")],
                "medicationCodeableConcept": {"text": drug}, "subject": self.subject, "encounter": encounter,
                "authoredOn": _time(at), "requester": doctor,
                "dosageInstruction": [{"text": "口服 每日一次", "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"},
                                       "code": {"text": "qd"}}, "route": {"text": "口服"}, "doseAndRate": [{"doseQuantity": dose}]}],
                "dispenseRequest": {"expectedSupplyDuration": {"value": 30, "unit": "天", "system": systems.UCUM, "code": "d"}},
            }  # fmt: skip

    def examination(self, visit: int, member: str, place: Json, at: datetime, doctor: Json) -> Iterator[Json]:
        """An ImagingStudy and its report."""
        rnd = self.rnd
        kind, title, loinc, findings = rnd.choice(STUDIES)
        uid = f"1.2.156.99.{rnd.randrange(10**9)}.{rnd.randrange(10**9)}"
        study = self.make_id("ImagingStudy", visit)
        yield {
            "resourceType": "ImagingStudy", "id": study, "status": "available",
            "identifier": [{"system": systems.DICOM_UID, "value": f"urn:oid:{uid}"},
                           {"type": _coding(systems.V2_0203, "ACSN"), "value": f"{rnd.randrange(10**8)}"}],
            "modality": [{"system": systems.DCM, "code": kind}], "subject": self.subject, "started": _time(at, 30),
            "endpoint": [{"reference": f"Endpoint/{self.ids.of('Endpoint', member)}"}], "numberOfSeries": 1,
            "numberOfInstances": 2, "description": title,
            "series": [{"uid": uid + ".1", "number": 1, "modality": {"system": systems.DCM, "code": kind},
                        "description": "平扫", "numberOfInstances": 2, "bodySite": {"display": "胸部"},
                        "instance": [{"uid": f"{uid}.1.{n}", "sopClass": {"system": "urn:ietf:rfc:3986",
                                      "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"}, "number": n} for n in (1, 2)]}],
        }  # fmt: skip
        yield {
            "resourceType": "DiagnosticReport", "id": self.make_id("DiagnosticReport", visit, "exam"),
            "extension": [{"url": systems.EXT_FINDINGS, "valueString": findings.format(rnd.randrange(3, 30))}],
            "identifier": [{"system": systems.local_number(member, "report"), "value": f"E{rnd.randrange(10**9)}"}],
            "status": "final", "category": [_coding(systems.V2_0074, "RAD")],
            "code": {"coding": [{"system": systems.local_codes(member, "exam"), "code": kind + "01", "display": title},
                                {"system": systems.LOINC, "code": loinc}], "text": title},
            "subject": self.subject, "effectiveDateTime": _time(at, 30), "issued": _time(at, 120), "performer": [place],
            "resultsInterpreter": [doctor], "imagingStudy": [{"reference": f"ImagingStudy/{study}"}],
            "conclusion": "未见明显异常，建议定期复查。",
        }  # fmt: skip

    def document(self, visit: int, member: str, place: Json, at: datetime, doctor: Json) -> Json:
        """A Composition with narrative."""
        text = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{self.rnd.choice(DIAGNOSES)[1]}，规律服药，复查血压血糖。</p></div>'
        return {
            "resourceType": "Composition", "id": self.make_id("Composition", visit), "status": "final",
            "identifier": {"system": systems.DOCUMENT_NUMBER, "value": str(self.rnd.randrange(10**12))},
            "type": _coding(systems.DOCUMENT_TYPE, "C0004"), "subject": self.subject, "date": _time(at, 100),
            "author": [doctor], "title": "西药处方", "custodian": place,
            "section": [{"title": "诊断记录", "text": {"status": "generated", "div": text}}],
        }  # fmt: skip

    def provenance(self, visit: int, place: Json, at: datetime) -> Json:
        """Who said it, in which message."""
        targets = [{"reference": f"Observation/{self.make_id('Observation', visit, n)}"} for n in range(6)]
        return {
            "resourceType": "Provenance", "id": self.make_id("Provenance", visit), "target": targets,
            "recorded": _time(at, 101), "policy": [f"urn:alliance-gateway:mapping:{self.rnd.getrandbits(64):016x}"],
            "agent": [{"who": place}],
            "entity": [{"role": "source", "what": {"identifier": {"value": f"m{self.rnd.randrange(10**7)}"}}}],
        }  # fmt: skip

    def make_id(self, *parts: object) -> str:
        """An id of this resident's."""
        return self.ids.of(str(self.number), *map(str, parts))

    def organization(self, member: str, hospital: str) -> Json:
        """Reference to a member."""
        return {"reference": f"Organization/{self.ids.of('Organization', member)}", "display": hospital}


def _coding(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def _time(at: datetime, minutes: int = 0) -> str:
    return (at + timedelta(minutes=minutes)).isoformat()


def stored(resource: Json, rnd: random.Random) -> bytes:
    """A resource as the store compresses it."""
    source = systems.source_uri(rnd.choice(MEMBERS)[0]) + f"#m{rnd.randrange(10**7)}"
    body, _ = strip(resource["resourceType"], dumps(resource))
    return kept_meta({"source": source}) + b"\n" + body


def samples(residents: int, seed: int) -> list[bytes]:
    """Resources of so many residents, as stored."""
    rnd = random.Random(seed)
    ids = Ids(seed.to_bytes(32, "big"))
    return [stored(resource, rnd) for n in range(residents) for resource in Resident(rnd, ids, n).all()]


def main() -> None:
    """Train, write, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=65536)
    parser.add_argument("--residents", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    data = zstandard.train_dictionary(asked.size, samples(asked.residents, asked.seed), level=LEVEL).as_bytes()
    FOLDER.mkdir(exist_ok=True)
    version = len(list(FOLDER.glob("*.zdict"))) + 1
    path = FOLDER / f"{version:03d}-{dictionary_hash(data)}.zdict"
    path.write_bytes(data)
    unseen = samples(40, asked.seed + 1)
    pack = zstandard.ZstdCompressor(level=LEVEL, dict_data=zstandard.ZstdCompressionDict(data))
    raw, packed = sum(map(len, unseen)), sum(len(pack.compress(one)) for one in unseen)
    print(
        f"{path.name}: {len(unseen)} unseen resources, {raw / len(unseen):.0f} -> {packed / len(unseen):.0f} bytes each"
    )


if __name__ == "__main__":
    main()
