"""What a doctor did with a result of another member: taken over, or done again and why; kept as a DetectedIssue.

The regulation asks that both stand in the medical record and that the office can report them (国卫医发〔2022〕6号).
One DetectedIssue is one decision of one doctor on one report: `code` what was decided, `implicated` the report,
`evidence` the items (recognition code; what the rules said of it then, and why; Observation), `mitigation.action` the
reason for doing it again, `detail` the sentence for the medical record. FHIR R4 DetectedIssue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..model.resource import Json, reference_id
from ..model.systems import RECOGNITION_ACT, RECOGNITION_ITEM, RECOGNITION_REASON, RECOGNITION_VERDICT, USER
from ..model.times import parse_fhir
from .match import codes_in
from .reasons import BY_CODE, FOR_REPEATING, Reason, Verdict

TAKEN, AGAIN = "recognised", "repeated"
"""Codes of what was decided."""

WORDS = {TAKEN: "予以互认", AGAIN: "重新检查"}
NEEDS_NOTE = frozenset({"08"})
"""Reasons that say nothing without the doctor's own words."""


@dataclass(frozen=True, slots=True)
class ActItem:
    """One item decided on. code: 互认编码, "" for one the rules do not list; observation: "" of an examination.

    verdict, because: what the rules said of it then (生化 30 天、质评合格); None: a client did not say.
    """

    code: str
    name: str
    observation: str = ""
    verdict: Verdict | None = None
    because: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """One decision. reason None: taken over. note: the doctor's own words."""

    patient: str
    report: str
    at: datetime
    user: str
    doctor: str
    items: tuple[ActItem, ...]
    reason: Reason | None = None
    note: str = ""
    sentence: str = ""

    @property
    def kind(self) -> str:
        """`recognised` or `repeated`."""
        return AGAIN if self.reason else TAKEN


def reason_of(code: str) -> Reason | None:
    """The reason a doctor may give under this code."""
    return next((one for one in FOR_REPEATING if one.code == code), None)


def to_issue(act: Act, id_: str) -> Json:
    """The DetectedIssue under this id."""
    issue: Json = {
        "resourceType": "DetectedIssue",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": RECOGNITION_ACT, "code": act.kind, "display": WORDS[act.kind]}]},
        "patient": {"reference": f"Patient/{act.patient}"},
        "identifiedDateTime": act.at.isoformat(timespec="seconds"),
        "author": _author(act),
        "implicated": [{"reference": f"DiagnosticReport/{act.report}"}],
        "evidence": [_evidence(item) for item in act.items],
    }
    if act.sentence:
        issue["detail"] = act.sentence
    if act.reason:
        coding = {"system": RECOGNITION_REASON, "code": act.reason.code, "display": act.reason.zh}
        action = {"coding": [coding]} | ({"text": act.note} if act.note else {})
        issue["mitigation"] = [{"action": action, "date": issue["identifiedDateTime"], "author": _author(act)}]
    return issue


def _author(act: Act) -> Json:
    return {"type": "Practitioner", "identifier": {"system": USER, "value": act.user}, "display": act.doctor}


def _evidence(item: ActItem) -> Json:
    coding = {"coding": [{"system": RECOGNITION_ITEM, "code": item.code, "display": item.name}]} if item.code else {}
    detail = {"detail": [{"reference": f"Observation/{item.observation}"}]} if item.observation else {}
    return {"code": [coding | {"text": item.name}, *_said_of(item)]} | detail


def _said_of(item: ActItem) -> list[Json]:
    if item.verdict is None:
        return []
    coding = {"system": RECOGNITION_VERDICT, "code": item.verdict.value, "display": item.verdict.zh}
    return [{"coding": [coding]} | ({"text": item.because} if item.because else {})]


def of_issue(issue: Json) -> Act | None:
    """The decision a DetectedIssue holds; None for any other issue, one without a time, and one taken back."""
    kind, at = _code(issue.get("code", {}), RECOGNITION_ACT), str(issue.get("identifiedDateTime", ""))
    if kind not in WORDS or not at or issue.get("status") == "entered-in-error":
        return None
    action: Json = next((one.get("action", {}) for one in issue.get("mitigation", ())), {})
    author = issue.get("author", {})
    return Act(
        patient=reference_id(issue.get("patient"), "Patient"),
        report=next((id_ for one in issue.get("implicated", ()) if (id_ := reference_id(one, "DiagnosticReport"))), ""),
        at=parse_fhir(at),
        user=str(author.get("identifier", {}).get("value", "")),
        doctor=str(author.get("display", "")),
        items=tuple(_item(one) for one in issue.get("evidence", ())),
        reason=BY_CODE.get(_code(action, RECOGNITION_REASON), UNSAID) if kind == AGAIN else None,
        note=str(action.get("text", "")),
        sentence=str(issue.get("detail", "")),
    )


UNSAID = Reason("", "未写明理由", "No reason given")
"""Of what a client recorded without one."""


def _item(evidence: Json) -> ActItem:
    concepts = evidence.get("code", ())
    said: Json = next((one for one in concepts if _code(one, RECOGNITION_VERDICT)), {})
    concept: Json = next((one for one in concepts if one is not said), {})
    verdict = next((one for one in Verdict if one.value == _code(said, RECOGNITION_VERDICT)), None)
    return ActItem(
        code=_code(concept, RECOGNITION_ITEM),
        name=str(concept.get("text", "")),
        observation=next((reference_id(one, "Observation") for one in evidence.get("detail", ())), ""),
        verdict=verdict,
        because=str(said.get("text", "")),
    )


def _code(concept: Json, system: str) -> str:
    return next(iter(codes_in(concept, system)), "")


# ---- counted -----------------------------------------------------------------------------------------
@dataclass(slots=True)
class Count:
    """How often items were taken over, and done again by reason code.

    left: of those done again the ones the rules had left to the doctor; they count against nobody.
    """

    taken: int = 0
    again: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)

    @property
    def counted(self) -> int:
        """Recognisable and done again for reasons that count as not recognised (98 and 99 do not)."""
        whole = self.again - self.left
        return sum(number for code, number in whole.items() if code not in BY_CODE or BY_CODE[code].counts)

    def add(self, other: Count) -> None:
        """Both together."""
        self.taken += other.taken
        self.again += other.again
        self.left += other.left

    @property
    def rate(self) -> float | None:
        """互认率: taken over of all that counts; None for nothing."""
        return self.taken / (self.taken + self.counted) if self.taken + self.counted else None


@dataclass(frozen=True, slots=True)
class Place:
    """What is counted together: the member whose doctor decided, the member that made the result, the item."""

    member: str
    producer: str
    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Told:
    """One decision with the members it is between."""

    act: Act
    member: str
    producer: str


def tally(decisions: Sequence[Told]) -> dict[Place, Count]:
    """Counts of items. Of several decisions of one member on the same item of a report the last one counts."""
    last: dict[tuple[str, str, str], tuple[Place, Count]] = {}
    for told in sorted(decisions, key=lambda one: one.act.at):
        for item in told.act.items:
            key = (told.member, told.act.report, item.observation or item.code or item.name)
            last[key] = Place(told.member, told.producer, item.code, item.name), _one(item, told.act.reason)
    found: dict[Place, Count] = {}
    for place, count in last.values():
        found.setdefault(place, Count()).add(count)
    return found


def _one(item: ActItem, reason: Reason | None) -> Count:
    if reason is None:
        return Count(taken=1)
    recognisable = item.verdict is None or item.verdict.recognisable
    return Count(again=Counter((reason.code,)), left=Counter(() if recognisable else (reason.code,)))
