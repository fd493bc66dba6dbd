"""A doctor's decision on a report, from the form below its verdicts into the record."""

from __future__ import annotations

from hashlib import blake2b

from ...model.context import AccessContext
from ...model.resource import Json, dumps
from ...model.rest import Seen
from ...model.times import CHINA
from ...recognise.acts import AGAIN, NEEDS_NOTE, TAKEN, Act, ActItem, reason_of, to_issue
from ...recognise.decide import ItemDecision, ReportDecision, citation
from ...recognise.reasons import Reason, Verdict
from ...security.audit import audit_row
from ...store.base import Plan
from ...store.bodies import prepare
from .opened import Derived, Opened

FIELD = "item-"
"""Form fields of items: this and the Observation id; this alone for an examination."""
_LONGEST_NOTE = 200


def act_of(form: dict[str, str], opened: Opened, derived: Derived, report: Json) -> Act | str:
    """The decision, or what is missing of it: no-decision, no-items, no-reason, no-note."""
    kind, note = form.get("decision", ""), form.get("note", "").strip()[:_LONGEST_NOTE]
    reason = reason_of(form.get("reason", "")) if kind == AGAIN else None
    items = _chosen(form, derived, report, opened.who.member)
    if kind not in (TAKEN, AGAIN):
        return "no-decision"
    if not items:
        return "no-items"
    if kind == AGAIN and reason is None:
        return "no-reason"
    if reason and reason.code in NEEDS_NOTE and not note:
        return "no-note"
    return Act(
        patient=opened.id,
        report=str(report["id"]),
        at=opened.at.astimezone(CHINA),
        user=opened.who.user,
        doctor=f"{opened.who.display}（{opened.member_name(opened.who.member)}）",
        items=items,
        reason=reason,
        note=note if reason else "",
        sentence=_sentence(opened, report, items, reason, note),
    )


def plan_of(act: Act, who: AccessContext) -> Plan:
    """The DetectedIssue and its audit row; the same decision once more that day takes the place of the first."""
    said = (who.user, who.member, act.report, act.kind, act.at.date().isoformat())
    id_ = blake2b("\x1f".join(said).encode(), digest_size=13).hexdigest()
    put = prepare("DetectedIssue", id_, dumps(to_issue(act, id_)), patient=act.patient, member=who.member)
    entities = (f"DetectedIssue/{id_}", f"DiagnosticReport/{act.report}")
    row = audit_row(act.at, who, Seen("C", "decide", (act.patient,), entities), kind="page")
    return Plan(puts=(put,), audits=(row,))


def item_of(decision: ItemDecision) -> ActItem:
    """What is decided on, by its recognition code where the rules list it, and what they said of it."""
    rule, because = decision.rule, " · ".join(reason.text for reason in decision.reasons)
    code, name = (rule.code, rule.name) if rule else ("", decision.name)
    return ActItem(code, name, decision.observation_id, decision.verdict, because)


def _chosen(form: dict[str, str], derived: Derived, report: Json, member: str) -> tuple[ActItem, ...]:
    offered = to_decide(derived.decision(report), member)
    found = (item_of(one) for one in offered if f"{FIELD}{one.observation_id}" in form)
    return tuple(found)


def to_decide(decision: ReportDecision, member: str) -> tuple[ItemDecision, ...]:
    """The items a doctor of this member may take over or do again.

    None of the member's own; and to do again what is not recognisable asks for no reason.
    """
    if decision.producer == member:
        return ()
    return tuple(item for item in decision.items if item.verdict is not Verdict.NO)


def _sentence(opened: Opened, report: Json, items: tuple[ActItem, ...], reason: Reason | None, note: str) -> str:
    ids = {item.observation for item in items}
    observations = [one for one in opened.record.items_of(report) if one["id"] in ids]
    why = "：".join(filter(None, (reason.zh, note))) if reason else ""
    return citation(report, observations, opened.says(report), why)
