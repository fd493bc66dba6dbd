"""The banner every page of a resident carries: who it is, allergies in three states, what to be careful about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ...identity.person import marked_unverified
from ...model import systems
from ...model.context import Role
from ...model.resource import Json
from . import moments
from .opened import Opened, is_provisional
from .withheld import ALLERGIES, keeps, withheld_note
from .words import Chip, Fact, Link, Note

SEXES = {"male": "男", "female": "女", "other": "其他", "unknown": "性别未知"}
TABS = (
    ("", "摘要"),
    ("visits", "就诊与文书"),
    ("labs", "检验"),
    ("cultures", "微生物"),
    ("imaging", "检查"),
    ("medication", "用药"),
    ("recognise", "互认"),
    ("access", "调阅记录"),
)


@dataclass(frozen=True, slots=True)
class Banner:
    """name, sex, age unlabelled; facts labelled; chips with the allergy state first."""

    name: str
    sex: str
    age: str
    facts: tuple[Fact, ...]
    chips: tuple[Chip, ...]
    tabs: tuple[Link, ...]
    notes: tuple[Note, ...]


def banner(opened: Opened, current: str, *, merged_from: bool = False, glass: datetime | None = None) -> Banner:
    """The banner with tab `current` marked. merged_from: the address named a Patient this one replaced.

    glass: until when this doctor sees what labels keep from the role.
    """
    patient = opened.record.patient
    return Banner(
        name=name_of(patient),
        sex=SEXES.get(patient.get("gender", ""), "性别未知"),
        age=_age(patient, opened.at),
        facts=_facts(patient),
        chips=(*_allergy_chips(opened), *_state_chips(opened)),
        tabs=tuple(Link(_href(opened.id, key), title, key == current) for key, title in TABS),
        notes=tuple(_notes(opened, merged_from, glass)),
    )


def _href(patient_id: str, key: str) -> str:
    return f"/ui/p/{patient_id}/{key}" if key else f"/ui/p/{patient_id}"


def name_of(patient: Json) -> str:
    """The name as text; 姓名未知 when there is none."""
    name: Json = next(iter(patient.get("name", ())), {})
    return str(name.get("text") or "".join([name.get("family", ""), *name.get("given", ())]) or "姓名未知")


def card_of(patient: Json) -> str:
    """The identity card number, verified before unverified; "" when there is none. Only for masking and tails."""
    cards = [i for i in patient.get("identifier", ()) if i.get("system") == systems.ID_CARD and i.get("value")]
    cards.sort(key=marked_unverified)
    return str(cards[0]["value"]) if cards else ""


def certificates_of(patient: Json) -> list[tuple[str, str]]:
    """(`护照`, its number) of every certificate that is no identity card."""
    words = {systems.certificate(code): word for code, word in systems.CERTIFICATES.items()}
    known = (i for i in patient.get("identifier", ()) if i.get("system") in words and i.get("value"))
    return [(words[i["system"]], str(i["value"])) for i in known]


def certificate_of(patient: Json) -> tuple[str, str]:
    """The first of them; ("", "") for none."""
    return next(iter(certificates_of(patient)), ("", ""))


def has_verified_card(patient: Json) -> bool:
    """True when an identity card without the mark of doubt stands in the record."""
    return any(i.get("system") == systems.ID_CARD and not marked_unverified(i) for i in patient.get("identifier", ()))


def card_shown(patient: Json) -> str:
    """For lists: the card masked, else `护照 *****5678`, else 无证件号."""
    kind, number = certificate_of(patient)
    other = f"{kind} {'*' * (len(number) - 4)}{number[-4:]}" if number else "无证件号"
    return masked(card_of(patient)) or other


def masked(card: str) -> str:
    """`990101********0772`: area and the last four, nothing between."""
    return card[:6] + "*" * (len(card) - 10) + card[-4:] if len(card) > 10 else "*" * len(card)


def phone_tail(patient: Json) -> str:
    """Last four digits of the first phone; "" when there is none."""
    phones = (str(t.get("value", "")) for t in patient.get("telecom", ()) if t.get("system", "phone") == "phone")
    return next((phone[-4:] for phone in phones if len(phone) >= 4), "")


def village(patient: Json) -> str:
    """`青石镇 东河村`; the address text when it has no parts; "" without address."""
    address: Json = next(iter(patient.get("address", ())), {})
    parts = [address.get("district", ""), *address.get("line", ())]
    return " ".join(part for part in parts if part) or str(address.get("text", ""))


def _facts(patient: Json) -> tuple[Fact, ...]:
    card = card_of(patient)
    kind, number = ("", card) if card else certificate_of(patient)
    tail = f"{kind} 尾号 {number[-4:]}".strip() if number else "未知"
    if card and not has_verified_card(patient):
        tail += "（未核验）"
    return (
        Fact("出生", patient.get("birthDate") or "未知"),
        Fact("证件", tail),
        Fact("住址", village(patient) or "未知"),
        Fact("电话尾号", phone_tail(patient) or "未知"),
    )


def _coded(resource: Json, element: str) -> set[str]:
    return {str(c.get("code", "")) for c in resource.get(element, {}).get("coding", ())}


def known_allergies(opened: Opened) -> list[Json]:
    """Active, not refuted allergies that name something."""
    return [a for a in opened.record.allergies if _stands(a) and not _says_none(a)]


def _stands(allergy: Json) -> bool:
    inactive = _coded(allergy, "clinicalStatus") & {"inactive", "resolved"}
    refuted = _coded(allergy, "verificationStatus") & {"refuted", "entered-in-error"}
    return not inactive and not refuted


def _says_none(allergy: Json) -> bool:
    return "no-known-allergy" in _coded(allergy, "code")


def allergen(allergy: Json) -> str:
    """The substance as the source names it."""
    code = allergy.get("code", {})
    shown = (c.get("display", "") for c in code.get("coding", ()))
    return code.get("text") or next((d for d in shown if d), "未写明")


def _allergy_chips(opened: Opened) -> list[Chip]:
    known = known_allergies(opened)
    if known:
        by_name: dict[str, list[str]] = {}
        for allergy in known:
            by_name.setdefault(allergen(allergy), []).append(opened.says(allergy))
        return [
            Chip(f"过敏：{name}", "allergy-known", "critical", "、".join(dict.fromkeys(sources)))
            for name, sources in by_name.items()
        ]
    if keeps(opened.withheld, ALLERGIES):  # also beside somebody's "no known allergy", which it contradicts
        return [Chip("过敏史无权查看", "allergy-unrecorded", "lock")]
    none = [a for a in opened.record.allergies if _stands(a) and _says_none(a)]
    if none:
        newest = max(none, key=lambda a: str(a.get("recordedDate", "")))
        said = f"{opened.says(newest)} {moments.day(str(newest.get('recordedDate', '')), opened.at).text}"
        return [Chip("无已知过敏", "allergy-none", "ok", said)]
    return [Chip("过敏史未记录", "allergy-unrecorded", "warn")]


def _state_chips(opened: Opened) -> list[Chip]:
    patient = opened.record.patient
    chips = deceased_chips(patient, opened.at)
    if is_provisional(patient):
        chips.append(Chip("临时档案 · 身份待核对", "provisional", "judge"))
    elif open_reviews(opened):
        chips.append(Chip("待复核", "review", "judge"))
    count = len(opened.source_records)
    numbers = f"{count} 个本地号" if count else "无本地号"
    chips.append(Chip(("身份已核验 · " if has_verified_card(patient) else "身份未核验 · ") + numbers))
    return chips


def deceased_chips(patient: Json, now: datetime) -> list[Chip]:
    """已故, with the day where the record gives it; [] for the living."""
    died = str(patient.get("deceasedDateTime", ""))
    if not died and not patient.get("deceasedBoolean"):
        return []
    return [Chip("已故", "superseded", note=moments.day(died, now, full=True).text if died else "日期未知")]


def open_reviews(opened: Opened) -> list[Json]:
    """Identity reviews nobody has decided yet."""
    return [t for t in opened.record.tasks if t.get("status") in ("requested", "received", "accepted", "in-progress")]


def review_reason(task: Json) -> str:
    """`证件与出生日期不符`."""
    return str(task.get("reasonCode", {}).get("text") or "身份待核对")


def _notes(opened: Opened, merged_from: bool, glass: datetime | None) -> list[Note]:
    notes = withheld_note(opened.withheld, f"/ui/p/{opened.id}/glass" if opened.who.role is Role.DOCTOR else "")
    if glass is not None:
        till = moments.of(glass, opened.at).text
        notes.append(Note("lock", f"破玻璃查看中，至 {till}。", "理由和此间的每次调阅都已记录，管理员会复核。"))
    if merged_from:
        notes.append(Note("merge", "已并入本档案。", "原地址的档案与这位居民是同一人，已合并；今后请从本页打开。"))
    if is_provisional(opened.record.patient):
        notes.append(
            Note("judge", "这是临时档案。", "来源的证件与登记信息不一致，未并入任何居民；请先核对身份，勿据此诊疗。")
        )
    reasons = list(dict.fromkeys(review_reason(task) for task in open_reviews(opened)))
    if reasons:
        notes.append(Note("judge", "身份待复核：" + "、".join(reasons) + "。", "等待管理员核对，相关资料未并入。"))
    return notes


def age_at(patient: Json, now: datetime) -> str:
    """`男 84 岁` for lists."""
    return f"{SEXES.get(patient.get('gender', ''), '性别未知')} {_age(patient, now)}"


def _age(patient: Json, now: datetime) -> str:
    """Now, or when the person died; of one whose day of death nobody wrote down no age is known."""
    if patient.get("deceasedBoolean"):
        return "卒年未知"
    return moments.age(patient.get("birthDate", ""), now, str(patient.get("deceasedDateTime", "")))
