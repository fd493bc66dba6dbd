"""R4 invariants written natively over the structs: path → rules. True means the rule holds.

Only rules of severity error; dom-2…5, ref-1 and dom-3 need the whole resource and live in `structure.py`.
Keys are those of the standard (`tables/invariants.json`). Source: FHIR R4 (4.0.1), constraints of each type.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

Test = Callable[[Any], bool]
UCUM = "http://unitsofmeasure.org"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_STATUS = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
ALLERGY_STATUS = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule of one type; `zh` and `en` say what is wrong when it fails."""

    key: str
    test: Test
    zh: str
    en: str


def _has(concept: Any, system: str, *codes: str) -> bool:
    coding = concept.coding if concept is not None else None
    return any(c.system == system and c.code in codes for c in coding or ())


def _choice(node: Any, stem: str) -> bool:
    return any(getattr(node, name) is not None for name in _variants(node.__class__, stem))


@cache
def _variants(cls: type[Any], stem: str) -> tuple[str, ...]:
    names: tuple[str, ...] = cls.__struct_fields__
    return tuple(n for n in names if n.startswith(stem) and n[len(stem) : len(stem) + 1].isupper())


def instant_key(text: str) -> tuple[str, datetime | None]:
    """For comparing two FHIR times: the text up to the day, and the instant when there is a time."""
    if len(text) <= 10:
        return text, None
    try:
        return text[:10], datetime.fromisoformat(text.replace(":60", ":59"))
    except ValueError:
        return text[:10], None


def in_order(start: str, end: str) -> bool:
    """start <= end as far as both say it: instants when both have times, else the shared precision."""
    day_a, at_a = instant_key(start)
    day_b, at_b = instant_key(end)
    if at_a is not None and at_b is not None:
        return at_a <= at_b
    size = min(len(day_a), len(day_b))
    return day_a[:size] <= day_b[:size]


def _period(n: Any) -> bool:
    return n.start is None or n.end is None or in_order(n.start, n.end)


def is_base64(text: str) -> bool:
    """True for base64 with right padding; white space between is allowed."""
    try:
        base64.b64decode("".join(text.split()) if any(c.isspace() for c in text) else text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _obs7(n: Any) -> bool:
    if n.component is None or not _choice(n, "value"):
        return True
    own = {(c.system, c.code, c.display, c.version) for c in n.code.coding or ()} if n.code is not None else set()
    parts = [c for part in n.component if part.code is not None for c in part.code.coding or ()]
    return not any((c.system, c.code, c.display, c.version) in own for c in parts)


def _duration(n: Any) -> bool:
    return n.code is None or (n.system == UCUM and n.value is not None)


def _ordered_range(n: Any) -> bool:
    low, high = n.low, n.high
    if low is None or high is None or low.value is None or high.value is None or low.code != high.code:
        return True
    return bool(low.value <= high.value)


def _bundle_distinct(n: Any) -> bool:
    if n.type == "history":
        return True
    seen = [(e.fullUrl, _version(e.resource)) for e in n.entry or () if e.fullUrl is not None]
    return len(seen) == len(set(seen))


def _version(resource: Any) -> str | None:
    meta = getattr(resource, "meta", None)
    return meta.versionId if meta is not None else None


def _first_is(kind: str, type_: str) -> Test:
    def test(n: Any) -> bool:
        if n.type != kind:
            return True
        first = n.entry[0].resource if n.entry else None
        return first is not None and getattr(first.__class__.__struct_config__, "tag", "") == type_

    return test


def _entries(part: str, *kinds: str) -> Test:
    def test(n: Any) -> bool:
        wanted = n.type in kinds
        return all((getattr(e, part) is not None) == wanted for e in n.entry or ())

    return test


def _some(*names: str) -> Test:
    def test(n: Any) -> bool:
        return any(getattr(n, name) is not None for name in names)

    return test


def _not_both(a: str, b: str) -> Test:
    def test(n: Any) -> bool:
        return getattr(n, a) is None or getattr(n, b) is None

    return test


def _needs(a: str, *b: str) -> Test:
    def test(n: Any) -> bool:
        return getattr(n, a) is None or any(getattr(n, name) is not None for name in b)

    return test


def _one(key: str, test: Test, zh: str, en: str) -> tuple[Invariant, ...]:
    return (Invariant(key, test, zh, en),)


_QTY3 = Invariant("qty-3", _needs("code", "system"), "有单位代码必须有代码系统", "a unit code needs its system")

INVARIANTS: dict[str, tuple[Invariant, ...]] = {
    "Quantity": (_QTY3,),
    "Age": (_QTY3,),
    "Count": (_QTY3,),
    "Distance": (_QTY3,),
    "Duration": (_QTY3, Invariant("drt-1", _duration, "时长单位须用 UCUM", "a coded duration needs UCUM and a value")),
    "Period": _one("per-1", _period, "开始时间晚于结束时间", "the period starts after it ends"),
    "Range": _one("rng-2", _ordered_range, "下限大于上限", "low is above high"),
    "Ratio": _one(
        "rat-1",
        lambda n: (n.numerator is None) == (n.denominator is None) and (n.numerator is not None or bool(n.extension)),
        "分子与分母须同时给出",
        "numerator and denominator go together",
    ),
    "ContactPoint": _one("cpt-2", _needs("value", "system"), "有号码必须有类别", "a value needs its system"),
    "Attachment": _one("att-1", _needs("data", "contentType"), "有内容必须有内容类型", "data needs its contentType"),
    "Extension": _one(
        "ext-1",
        lambda n: (n.extension is not None) != _choice(n, "value"),
        "扩展须有值或下级扩展，二者取一",
        "an extension has either a value or extensions",
    ),
    "Expression": _one(
        "exp-1", _some("expression", "reference"), "须有表达式或引用", "expression or reference is needed"
    ),
    "Timing.repeat": (
        Invariant("tim-1", _needs("duration", "durationUnit"), "有时长须有单位", "duration needs durationUnit"),
        Invariant("tim-2", _needs("period", "periodUnit"), "有周期须有单位", "period needs periodUnit"),
        Invariant("tim-4", lambda n: n.duration is None or n.duration >= 0, "时长不能为负", "duration is negative"),
        Invariant("tim-5", lambda n: n.period is None or n.period >= 0, "周期不能为负", "period is negative"),
        Invariant("tim-6", _needs("periodMax", "period"), "有最长周期须有周期", "periodMax needs period"),
        Invariant("tim-7", _needs("durationMax", "duration"), "有最长时长须有时长", "durationMax needs duration"),
        Invariant("tim-8", _needs("countMax", "count"), "有最多次数须有次数", "countMax needs count"),
        Invariant(
            "tim-9",
            lambda n: n.offset is None or (bool(n.when) and not {"C", "CM", "CD", "CV"} & set(n.when)),
            "偏移须配合非用餐本身的时点",
            "offset needs a `when` other than a meal itself",
        ),
        Invariant("tim-10", _not_both("timeOfDay", "when"), "时刻与时点二者取一", "timeOfDay excludes when"),
    ),
    "Observation": (
        Invariant(
            "obs-6",
            lambda n: n.dataAbsentReason is None or not _choice(n, "value"),
            "有结果值时不能写缺失原因",
            "dataAbsentReason is only for a missing value",
        ),
        Invariant(
            "obs-7", _obs7, "分项代码与总项相同时，总项不能有值", "a component repeats the code that has the value"
        ),
    ),
    "Observation.referenceRange": _one(
        "obs-3", _some("low", "high", "text"), "参考范围为空", "a reference range needs low, high or text"
    ),
    "Patient.contact": _one(
        "pat-1",
        _some("name", "telecom", "address", "organization"),
        "联系人须有姓名、电话、地址或机构",
        "a contact needs name, telecom, address or organization",
    ),
    "Organization": (
        Invariant("org-1", _some("identifier", "name"), "机构须有标识或名称", "identifier or name is needed"),
        Invariant(
            "org-2", lambda n: all(a.use != "home" for a in n.address or ()), "机构地址不能是家庭", "no home address"
        ),
        Invariant(
            "org-3", lambda n: all(t.use != "home" for t in n.telecom or ()), "机构电话不能是家庭", "no home telecom"
        ),
    ),
    "AllergyIntolerance": (
        Invariant(
            "ait-1",
            lambda n: n.clinicalStatus is not None or _has(n.verificationStatus, ALLERGY_STATUS, "entered-in-error"),
            "须有临床状态",
            "clinicalStatus is needed unless entered in error",
        ),
        Invariant(
            "ait-2",
            lambda n: n.clinicalStatus is None or not _has(n.verificationStatus, ALLERGY_STATUS, "entered-in-error"),
            "误录记录不能有临床状态",
            "entered in error excludes clinicalStatus",
        ),
    ),
    "Condition": (
        Invariant(
            "con-4",
            lambda n: (
                not _choice(n, "abatement") or _has(n.clinicalStatus, CLINICAL, "resolved", "remission", "inactive")
            ),
            "已写缓解时间，临床状态须为已缓解",
            "abatement needs clinicalStatus resolved, remission or inactive",
        ),
        Invariant(
            "con-5",
            lambda n: n.clinicalStatus is None or not _has(n.verificationStatus, CONDITION_STATUS, "entered-in-error"),
            "误录记录不能有临床状态",
            "entered in error excludes clinicalStatus",
        ),
    ),
    "Condition.stage": _one("con-1", _some("summary", "assessment"), "分期为空", "summary or assessment is needed"),
    "Condition.evidence": _one("con-2", _some("code", "detail"), "依据为空", "code or detail is needed"),
    "Bundle": (
        Invariant(
            "bdl-1",
            lambda n: n.total is None or n.type in ("searchset", "history"),
            "只有查询和历史可写总数",
            "total is only for searchset and history",
        ),
        Invariant(
            "bdl-2",
            lambda n: n.type == "searchset" or all(e.search is None for e in n.entry or ()),
            "只有查询结果可写 search",
            "entry.search is only for searchset",
        ),
        Invariant(
            "bdl-3",
            _entries("request", "batch", "transaction", "history"),
            "批次、事务和历史的每条都须有 request，其他类型不能有",
            "entry.request is for batch, transaction and history, in every entry",
        ),
        Invariant(
            "bdl-4",
            _entries("response", "batch-response", "transaction-response", "history"),
            "应答和历史的每条都须有 response，其他类型不能有",
            "entry.response is for responses and history, in every entry",
        ),
        Invariant("bdl-7", _bundle_distinct, "fullUrl 重复", "fullUrl and version occur twice"),
        Invariant(
            "bdl-9",
            lambda n: n.type != "document" or bool(n.identifier and n.identifier.system and n.identifier.value),
            "文档须有标识",
            "a document needs identifier.system and value",
        ),
        Invariant(
            "bdl-10",
            lambda n: n.type != "document" or n.timestamp is not None,
            "文档须有时间",
            "a document needs timestamp",
        ),
        Invariant(
            "bdl-11",
            _first_is("document", "Composition"),
            "文档首条须为 Composition",
            "a document starts with Composition",
        ),
        Invariant(
            "bdl-12",
            _first_is("message", "MessageHeader"),
            "消息首条须为 MessageHeader",
            "a message starts with MessageHeader",
        ),
    ),
    "Bundle.entry": (
        Invariant(
            "bdl-5", _some("resource", "request", "response"), "条目为空", "resource, request or response is needed"
        ),
        Invariant(
            "bdl-8",
            lambda n: n.fullUrl is None or "/_history/" not in n.fullUrl,
            "fullUrl 不能带版本",
            "fullUrl names a version",
        ),
    ),
    "Composition.section": (
        Invariant("cmp-1", _some("text", "entry", "section"), "章节为空", "text, entry or section is needed"),
        Invariant("cmp-2", _not_both("emptyReason", "entry"), "有条目不能写空原因", "emptyReason excludes entry"),
    ),
    "CarePlan.activity": _one(
        "cpl-3", _not_both("detail", "reference"), "明细与引用二者取一", "detail excludes reference"
    ),
    "Appointment": (
        Invariant(
            "app-2", lambda n: (n.start is None) == (n.end is None), "起止须同时给出", "start and end go together"
        ),
        Invariant(
            "app-3",
            lambda n: (n.start is not None and n.end is not None) or n.status in ("proposed", "cancelled", "waitlist"),
            "须有起止时间",
            "start and end are needed",
        ),
        Invariant(
            "app-4",
            lambda n: n.cancelationReason is None or n.status in ("no-show", "cancelled"),
            "只有取消或爽约可写取消原因",
            "cancelationReason is only for no-show and cancelled",
        ),
    ),
    "Appointment.participant": _one("app-1", _some("type", "actor"), "参与者为空", "type or actor is needed"),
    "AppointmentResponse": _one(
        "apr-1", _some("participantType", "actor"), "须有参与者", "participantType or actor is needed"
    ),
    "AuditEvent.entity": _one("sev-1", _not_both("name", "query"), "名称与查询二者取一", "name excludes query"),
    "Consent": _one("ppc-1", _some("policy", "policyRule"), "须有政策", "policy or policyRule is needed"),
    "FamilyMemberHistory": _one(
        "fhs-1", lambda n: not (_choice(n, "age") and _choice(n, "born")), "年龄与出生二者取一", "age excludes born"
    ),
    "Goal.target": _one(
        "gol-1", lambda n: not _choice(n, "detail") or n.measure is not None, "有目标值须有指标", "detail needs measure"
    ),
    "Group": _one(
        "grp-1", lambda n: n.member is None or n.actual is True, "只有实际群组可有成员", "members need actual"
    ),
    "List": (
        Invariant("lst-1", _not_both("emptyReason", "entry"), "有条目不能写空原因", "emptyReason excludes entry"),
        Invariant(
            "lst-2",
            lambda n: n.mode == "changes" or all(e.deleted is None for e in n.entry or ()),
            "只有变更列表可写删除",
            "deleted is only for mode changes",
        ),
        Invariant(
            "lst-3",
            lambda n: n.mode == "working" or all(e.date is None for e in n.entry or ()),
            "只有工作列表可写日期",
            "entry.date is only for mode working",
        ),
    ),
    "MedicationAdministration.dosage": _one(
        "mad-1", lambda n: n.dose is not None or _choice(n, "rate"), "须有剂量或速率", "dose or rate is needed"
    ),
    "MedicationDispense": _one(
        "mdd-1",
        lambda n: n.whenPrepared is None or n.whenHandedOver is None or in_order(n.whenPrepared, n.whenHandedOver),
        "交付早于配制",
        "handed over before prepared",
    ),
    "QuestionnaireResponse.item": _one(
        "qrs-1", _not_both("answer", "item"), "答案与下级二者取一", "answer excludes item"
    ),
    "ServiceRequest": _one("prr-1", _needs("orderDetail", "code"), "有明细须有项目", "orderDetail needs code"),
    "RequestGroup.action": _one(
        "rqg-1",
        lambda n: (n.resource is None) != (n.action is None),
        "资源与下级动作二者取一",
        "either resource or action",
    ),
    "Immunization.education": _one(
        "imm-1", _some("documentType", "reference"), "须有类型或引用", "documentType or reference"
    ),
    "Parameters.parameter": _one(
        "inv-1",
        lambda n: (n.part is not None) + _choice(n, "value") + (n.resource is not None) == 1,
        "参数须有且只有一个值",
        "a parameter has exactly one of value, resource, part",
    ),
    "Linkage": _one("lnk-1", lambda n: len(n.item or ()) > 1, "至少两条", "at least two items"),
}
