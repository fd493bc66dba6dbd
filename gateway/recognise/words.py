"""The sentences a doctor copies into the medical record: what was recognised, what was not, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..model.printed import effective_time, printed_value
from ..model.resource import Json
from ..model.times import CHINA, parse_fhir
from .decision import ItemDecision, ReportDecision
from .match import name_of
from .reasons import Verdict


@dataclass(frozen=True, slots=True)
class CopyText:
    """Sentences for the medical record, one a line; "" where nothing is recognised, or nothing refused."""

    yes: str
    no: str


def copy_text(report: Json, items: Sequence[Json], decision: ReportDecision, hospital: str) -> CopyText:
    """`引用{医院}{报告日}{项目 值}，予以互认。` and `…不予互认，理由：{理由}。`, one line a reason.

    Items left to the doctor's judgement stand in neither: `citation` writes their sentence once decided.
    """
    by_id = {str(item.get("id", "")): item for item in items}
    yes = [item for item in decision.items if item.verdict.recognisable]
    refused: dict[str, list[ItemDecision]] = {}
    for item in decision.items:
        if item.verdict is Verdict.NO:
            refused.setdefault("、".join(reason.zh for reason in item.reasons), []).append(item)
    return CopyText(
        citation(report, _chosen(yes, by_id), hospital) if yes else "",
        "\n".join(citation(report, _chosen(group, by_id), hospital, why) for why, group in refused.items()),
    )


def citation(report: Json, items: Sequence[Json], hospital: str, reason: str = "") -> str:
    """One such sentence for items a doctor chose; with `reason` it refuses. `items` empty: the examination itself."""
    what = "、".join(_item_text(item) for item in items) or name_of(report)
    end = f"不予互认，理由：{reason}。" if reason else "予以互认。"
    return f"引用{hospital}{_day(report)}{what}，{end}"


def value_text(observation: Json) -> str:
    """The value as sent, with its unit: `72.1 g/L`, `<0.05 ng/mL`, `1:320`, `阴性(-)`; "" when there is none."""
    return " ".join(filter(None, printed_value(observation)))


def _chosen(decisions: Sequence[ItemDecision], by_id: dict[str, Json]) -> list[Json]:
    return [by_id[item.observation_id] for item in decisions if item.observation_id in by_id]


def _item_text(observation: Json) -> str:
    return f"{name_of(observation)} {value_text(observation)}".strip()


def _day(report: Json) -> str:
    text = str(report.get("issued") or effective_time(report) or "")
    return parse_fhir(text).astimezone(CHINA).date().isoformat() if text else ""
