"""Decisions as FHIR Parameters: the answers of `$recognition` on a DiagnosticReport and on a Patient."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..model.resource import Json
from ..model.systems import RECOGNITION_ITEM, RECOGNITION_REASON, RECOGNITION_VERDICT
from .decision import ItemDecision, ReportDecision
from .reasons import Reason, Verdict


def to_parameters(decision: ReportDecision) -> Json:
    """One report: `report`, `verdict`, `recognisable`, `total`, `validUntil`, `at`, `rules`, `producer`, `reason`*,
    `item`* (parts of the same names, `rule`), `finding`*.
    """
    return {"resourceType": "Parameters", "parameter": _report(decision)}


def patient_parameters(decisions: Sequence[ReportDecision], unlisted: Sequence[str] = ()) -> Json:
    """A whole resident: one `decision` a report, with the parts of `to_parameters`; `unlisted`: what was asked for and
    is no item of the rules.
    """
    parameters: list[Json] = [{"name": "decision", "part": _report(decision)} for decision in decisions]
    parameters += [{"name": "unlisted", "valueString": text} for text in unlisted]
    return {"resourceType": "Parameters"} | ({"parameter": parameters} if parameters else {})


def _report(decision: ReportDecision) -> list[Json]:
    return [
        {"name": "report", "valueReference": {"reference": f"DiagnosticReport/{decision.report_id}"}},
        _verdict(decision.verdict),
        {"name": "recognisable", "valueUnsignedInt": decision.recognisable},
        {"name": "total", "valueUnsignedInt": decision.total},
        *_instant("validUntil", decision.valid_until),
        *_instant("at", decision.at),
        {"name": "rules", "valueString": decision.rules},
        {"name": "producer", "valueString": decision.producer},
        *map(_reason, decision.reasons),
        *({"name": "item", "part": _item(item)} for item in decision.items),
        *({"name": "finding", "valueString": f"{f.code} {f.place} {f.zh}"} for f in decision.findings),
    ]


def _item(item: ItemDecision) -> list[Json]:
    parts: list[Json] = []
    if item.observation_id:
        parts.append({"name": "observation", "valueReference": {"reference": f"Observation/{item.observation_id}"}})
    parts += [{"name": "name", "valueString": item.name}] if item.name else []
    parts += [_verdict(item.verdict), *_instant("validUntil", item.valid_until), *map(_reason, item.reasons)]
    if item.rule:
        code = {"system": RECOGNITION_ITEM, "code": item.rule.code, "display": item.rule.name}
        rule: list[Json] = [{"name": "code", "valueCoding": code}, {"name": "window", "valueString": item.rule.window}]
        rule.append({"name": "start", "valueCode": item.rule.start})
        rule += [{"name": "scope", "valueCode": item.rule.scope}] if item.rule.scope else []
        rule += [{"name": "evidence", "valueString": item.rule.evidence}] if item.rule.evidence else []
        parts.append({"name": "rule", "part": rule})
    return parts


def _verdict(verdict: Verdict) -> Json:
    coding = {"system": RECOGNITION_VERDICT, "code": verdict.value, "display": verdict.zh}
    return {"name": "verdict", "valueCoding": coding}


def _reason(reason: Reason) -> Json:
    return {
        "name": "reason",
        "valueCodeableConcept": {
            "coding": [{"system": RECOGNITION_REASON, "code": reason.code, "display": reason.zh}],
            "text": reason.text,
        },
    }


def _instant(name: str, at: datetime | None) -> list[Json]:
    return [{"name": name, "valueDateTime": at.isoformat(timespec="seconds")}] if at else []
