"""Made-up residents and their records for the search oracle: small vocabularies, so that questions meet answers."""

from __future__ import annotations

import random
from typing import Any

from gateway.model.systems import LOINC
from tests.oracle.values import UCUM
from tests.oracle.wordbook import ANSWERS, ICD, ICD_CODES, LAB_CODES, TAG, set_docs, system_docs

Json = dict[str, Any]
_V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_LABEL = "urn:test:label"
_NAMES = ["欧阳娜娜", "王小明", "王伟", "吕布", "单小红", "诸葛亮"]
_UNITS = [("mg/dL", UCUM, "mg/dL"), ("g/L", UCUM, "g/L"), ("毫摩尔", UCUM, "mmol/L"), ("umol/L", UCUM, "umol/L"),
          ("mmol/L", None, None), ("次", "urn:test:unit", "times")]  # fmt: skip
_VALUES = ["5", "5.0", "5.4", "5.35", "0.05", "500", "540", "5400", "-1", "0", "5.45"]
_DATES = ["2026", "2026-02", "2026-02-03", "2026-02-03T07:45:00+08:00", "2026-02-02T23:45:00Z", "2026-02-28",
          "2026-02-03T23:59:59.500+08:00", "2025-12-31", "2026-03-01T00:00:00+08:00"]  # fmt: skip


class Maker:
    """Resources of every type the questions are about, pointing to each other."""

    def __init__(self, rng: random.Random, people: int) -> None:
        self.rng = rng
        self.people = [f"p{n}" for n in range(people)]
        self.staff = [f"dr{n}" for n in range(3)]
        self.places = [f"org{n}" for n in range(4)]
        self.stays = [f"e{n}" for n in range(people)]
        self.results = [f"o{n}" for n in range(people * 3)]

    def everything(self) -> list[Json]:
        """The whole population, who is pointed to first."""
        *sets, newest = set_docs(self.rng)
        out = system_docs() + sets
        out += [self.organization(id_) for id_ in self.places] + [self.practitioner(id_) for id_ in self.staff]
        out += [self.patient(id_) for id_ in self.people] + [self.encounter(id_) for id_ in self.stays]
        out += [self.observation(id_) for id_ in self.results]
        out += [self.condition(f"c{n}") for n in range(len(self.people))]
        out += [self.report(f"r{n}") for n in range(len(self.people))]
        out += [self.risk(f"k{n}") for n in range(6)] + [self.request(f"s{n}") for n in range(8)]
        out += [self.value_set(f"v{n}") for n in range(6)] + [self.answers(f"q{n}") for n in range(5)]
        out += [self.composition(f"d{n}") for n in range(4)] + [self.document(f"f{n}") for n in range(6)]
        return [*out, newest]

    def again(self, doc: Json) -> Json:
        """Another version of the same resource."""
        ways = {
            "Patient": self.patient, "Observation": self.observation, "Encounter": self.encounter,
            "Condition": self.condition, "DiagnosticReport": self.report,
        }  # fmt: skip
        return ways[doc["resourceType"]](doc["id"]) if doc["resourceType"] in ways else doc

    # ---- pieces -------------------------------------------------------------------------------
    def some(self, chance: float = 0.5) -> bool:
        return self.rng.random() < chance

    def concept(self, codes: list[str], system: str = LOINC) -> Json:
        coding: Json = {"code": self.rng.choice(codes)}
        if self.some(0.85):
            coding["system"] = system
        if self.some(0.4):
            coding["display"] = self.rng.choice(["血钾", "Sodium Level", "ＨＢ", "糖化 血红蛋白"])
        out: Json = {"coding": [coding]}
        if self.some(0.2):
            out["coding"].append({"system": "urn:test:local", "code": self.rng.choice(["K", "NA"])})
        if self.some(0.4):
            out["text"] = self.rng.choice(["血钾测定", "sodium", "Häm", "血红蛋白"])
        return out if self.some(0.95) else {"text": "只有文字"}

    def component(self) -> Json:
        return {"coding": [{"system": LOINC, "code": self.rng.choice(["8480-6", "8462-4", "2823"])}]}

    def quantity(self) -> Json:
        unit, system, code = self.rng.choice(_UNITS)
        out: Json = {"value": _Number(self.rng.choice(_VALUES)), "unit": unit}
        return out | ({"system": system, "code": code} if system else {})

    def date(self) -> str:
        return self.rng.choice(_DATES)

    def day(self) -> str:
        return self.rng.choice([text for text in _DATES if "T" not in text])

    def moment(self) -> str:
        return self.rng.choice([text for text in _DATES if "T" in text or len(text) < 11])

    def period(self) -> Json:
        start, end = sorted([self.rng.choice(["2026-02-01", "2026-02-03T10:00:00+08:00", "2026-01"]), "2026-02-20"])
        return {key: text for key, text in (("start", start), ("end", end)) if self.some(0.8)} or {"start": start}

    def identifier(self, kind: str = "") -> Json:
        out: Json = {"system": self.rng.choice(["urn:test:a", "urn:test:b"]), "value": str(self.rng.randrange(8))}
        if self.some(0.2):
            del out["system"]
        if kind and self.some(0.6):
            out["type"] = {"coding": [{"system": _V2, "code": kind, "display": "病历号"}], "text": "Record"}
        return out

    def ref(self, type_: str, ids: list[str]) -> Json:
        if self.some(0.1):
            return {"identifier": self.identifier()}
        if self.some(0.08):
            return {"reference": f"http://elsewhere.test/fhir/{type_}/{self.rng.choice(ids)}"}
        return {"reference": f"{type_}/{self.rng.choice(ids)}"}

    def based(self, type_: str, id_: str) -> Json:
        out: Json = {"resourceType": type_, "id": id_}
        meta: Json = {}
        if self.some(0.3):
            meta["tag"] = [{"system": TAG, "code": self.rng.choice(["x", "y"])}]
        if self.some(0.2):
            meta["profile"] = [self.rng.choice(["http://test/fhir/a", "http://test/fhir/a/b", "http://other/c"])]
        if self.some(0.2):
            meta["source"] = self.rng.choice(["urn:test:lis", "urn:test:his"])
        if self.some(0.2):
            words = self.rng.sample(["血钾 <b>偏高</b>", "未见异常", "Sodium  LOW", "Häm &amp; 铁"], 2)
            out["text"] = {
                "status": "generated",
                "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{" ".join(words)}</div>',
            }
        if self.some(0.1):
            meta["security"] = [{"system": _LABEL, "code": "soft"}]
        return out | ({"meta": meta} if meta else {})

    # ---- resources ----------------------------------------------------------------------------
    def patient(self, id_: str) -> Json:
        out = self.based("Patient", id_)
        if self.some(0.85):
            out["active"] = self.some(0.8)
        out["identifier"] = [self.identifier("MR") for _ in range(self.rng.randrange(3))]
        out["name"] = [self.name() for _ in range(self.rng.randrange(1, 3))]
        if self.some(0.8):
            out["gender"] = self.rng.choice(["male", "female"])
        if self.some(0.8):
            out["birthDate"] = self.rng.choice(["1960-04-08", "1960", "1972-11", "2001-01-01"])
        if self.some(0.3):
            out |= {"deceasedBoolean": self.some()} if self.some() else {"deceasedDateTime": "2026-01-05"}
        if self.some(0.6):
            out["telecom"] = [{"system": "phone", "value": self.rng.choice(["13800000001", "13800000002"])}]
        if self.some(0.5):
            out["address"] = [self.address() for _ in range(self.rng.choice([1, 1, 2]))]
        if self.some(0.6):
            out["managingOrganization"] = self.ref("Organization", self.places)
        if self.some(0.5):
            out["generalPractitioner"] = [self.ref("Practitioner", self.staff)]
        return {key: value for key, value in out.items() if value != []}

    def address(self) -> Json:
        city = self.rng.choice(["杭州市", "Hangzhou City", "宁波市"])
        return {"city": city, "line": ["西湖区 1 号"], "postalCode": self.rng.choice(["310000", "315000"])}

    def name(self) -> Json:
        if self.some(0.5):
            return {"text": self.rng.choice(_NAMES)}
        if self.some(0.4):
            return {"family": "王", "given": ["小明"]}
        return {"family": self.rng.choice(["Müller", "O'Neil"]), "given": self.rng.sample(["Anna", "Bo", "Élise"], 2)}

    def organization(self, id_: str) -> Json:
        out = self.based("Organization", id_) | {
            "name": self.rng.choice(["市第一人民医院", "County  Hospital", "ＡＢＣ 中心"])
        }
        n = self.places.index(id_)
        return out | ({"partOf": {"reference": f"Organization/{self.places[n - 1]}"}} if n else {})

    def practitioner(self, id_: str) -> Json:
        return self.based("Practitioner", id_) | {"name": [self.name()], "identifier": [self.identifier()]}

    def encounter(self, id_: str) -> Json:
        out = self.based("Encounter", id_) | {
            "status": self.rng.choice(["finished", "in-progress"]),
            "class": {"system": _ACT, "code": self.rng.choice(["AMB", "IMP"])},
            "subject": self.ref("Patient", self.people),
        }  # fmt: skip
        if self.some(0.8):
            out["period"] = self.period()
        if self.some(0.5):
            out["serviceProvider"] = self.ref("Organization", self.places)
        if self.some(0.4):
            out["participant"] = [{"individual": self.ref("Practitioner", self.staff)}]
        if self.some(0.4):
            out["length"] = {
                "value": _Number(self.rng.choice(["3", "90"])),
                "unit": "min",
                "system": UCUM,
                "code": "min",
            }
        return out

    def observation(self, id_: str) -> Json:
        out = self.based("Observation", id_) | {
            "status": self.rng.choice(["final", "preliminary", "amended"]),
            "code": self.concept(LAB_CODES),
            "subject": self.ref("Patient", self.people),
        }
        if self.some(0.7):
            out["category"] = [
                self.concept(
                    ["laboratory", "vital-signs"], "http://terminology.hl7.org/CodeSystem/observation-category"
                )
            ]
        out |= self.rng.choice([{"effectiveDateTime": self.date()}, {"effectivePeriod": self.period()}, {}])
        out |= self.value()
        if self.some(0.4):
            out["encounter"] = self.ref("Encounter", self.stays)
        if self.some(0.5):
            out["performer"] = [self.ref("Practitioner", self.staff), self.ref("Organization", self.places)]
        if self.some(0.3):
            out["component"] = [{"code": self.component(), **self.value()} for _ in range(2)]
        if self.some(0.2):
            out["identifier"] = [self.identifier("MR")]
        if self.some(0.3):
            out["interpretation"] = [self.concept(["HH", "LL", "N"], "http://terminology.hl7.org/CodeSystem/v3-Obs")]
        return out

    def value(self) -> Json:
        return self.rng.choice(
            [
                {"valueQuantity": self.quantity()},
                {"valueQuantity": self.quantity()},
                {"valueCodeableConcept": self.concept(["POS", "NEG"], ANSWERS)},
                {"valueString": self.rng.choice(["阳性 (+)", "Positive", "ｐositive"])},
                {"valueDateTime": self.date()},
                {},
            ]
        )

    def condition(self, id_: str) -> Json:
        out = self.based("Condition", id_) | {
            "code": self.concept(ICD_CODES, ICD),
            "subject": self.ref("Patient", self.people),
        }
        out |= self.rng.choice(
            [
                {"onsetAge": {"value": _Number("30"), "system": UCUM, "code": "a", "unit": "岁"}},
                {"onsetDateTime": self.date()},
                {"onsetRange": {"low": {"value": _Number("20")}, "high": {"value": _Number("40")}}},
                {"onsetString": "幼年"},
            ]
        )
        if self.some(0.5):
            out["recordedDate"] = self.moment()
        return out | ({"encounter": self.ref("Encounter", self.stays)} if self.some(0.4) else {})

    def report(self, id_: str) -> Json:
        out = self.based("DiagnosticReport", id_) | {
            "status": "final", "code": self.concept(["24323-8", "58410-2"]),
            "subject": self.ref("Patient", self.people),
            "result": [self.ref("Observation", self.results) for _ in range(self.rng.randrange(3))],
            "issued": self.rng.choice(["2026-02-03T07:45:00+08:00", "2026-02-03T00:00:00Z"]),
        }  # fmt: skip
        if self.some(0.5):
            out["conclusion"] = "未见异常"
        return {key: value for key, value in out.items() if value != []}

    def risk(self, id_: str) -> Json:
        between = {"low": {"value": _Number("0.1")}, "high": {"value": _Number("0.9")}}
        chance = [
            {"probabilityDecimal": _Number(self.rng.choice(["0.5", "0.51", "5e-1", "100"]))},
            {"probabilityRange": between},
        ]
        return self.based("RiskAssessment", id_) | {
            "status": "final", "subject": self.ref("Patient", self.people), "prediction": [self.rng.choice(chance)],
        }  # fmt: skip

    def request(self, id_: str) -> Json:
        timing: Json = (
            {"event": [self.moment() for _ in range(2)]} if self.some() else {"repeat": {"boundsPeriod": self.period()}}
        )
        out = self.based("ServiceRequest", id_) | {
            "status": "active", "intent": "order", "subject": self.ref("Patient", self.people),
            "instantiatesCanonical": [self.rng.choice(["http://test/plan|1", "http://test/plan"])],
        }  # fmt: skip
        return out | self.rng.choice(
            [{"occurrenceTiming": timing}, {"occurrenceDateTime": self.date()}, {"occurrencePeriod": self.period()}]
        )

    def value_set(self, id_: str) -> Json:
        out = self.based("ValueSet", id_) | {"status": "active", "title": self.rng.choice(["Results set", "结果 集"])}
        url = self.rng.choice(["http://test/vs/a", "http://test/vs/a/b", "http://test/vs", "urn:oid:1.2.3"])
        return out | ({"url": url, "version": self.rng.choice(["1", "2A", "2a"])} if self.some(0.9) else {})

    def media(self) -> Json:
        return {"contentType": self.rng.choice(["application/pdf", "text/xml", "text/xml; charset=UTF-8", "text/xml2"])}

    def answers(self, id_: str) -> Json:
        return self.based("QuestionnaireResponse", id_) | {
            "status": "completed", "subject": self.ref("Patient", self.people),
            "questionnaire": "http://test/q" + self.rng.choice(["|1", "", "|1.1", "|10", "/2|1"]),
        }  # fmt: skip

    def composition(self, id_: str) -> Json:
        return self.based("Composition", id_) | {
            "status": "final", "type": self.concept(["11503-0"]), "date": self.moment(), "title": "病历摘要",
            "subject": self.ref("Patient", self.people), "author": [self.ref("Practitioner", self.staff)],
            "section": [{"title": "a", "entry": [self.ref("Observation", self.results)]}],
        }  # fmt: skip

    def document(self, id_: str) -> Json:
        related = {
            "code": self.rng.choice(["replaces", "appends"]),
            "target": self.ref("DocumentReference", ["f0", "f1", "f2"]),
        }
        other = {"code": "signs", "target": self.ref("DocumentReference", ["f0", "f1", "f2"])}
        return self.based("DocumentReference", id_) | {
            "status": "current", "subject": self.ref("Patient", self.people), "relatesTo": [related, other],
            "content": [{"attachment": self.media()}],
        }  # fmt: skip


def _Number(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)
