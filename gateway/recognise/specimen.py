"""The specimen of a laboratory result: what it is, when it was taken, what the laboratory says against it.

Source: HL7 v2.5.1 tables 0493 (condition), 0490 (reject reason); china-standards §2.4 (words in place of a result).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from ..model.printed import concept_text, printed_value
from ..model.resource import Json, reference_id
from ..model.systems import V2_0490, V2_0493
from .listing import RuleItem, normal_name

_LONGEST = 30
_SPOILT = {"HEM": "溶血", "CLOT": "凝固", "CON": "污染", "AUT": "自溶", "SNR": "未收到标本"}
_DOUBTS = re.compile(
    r"溶血(?![素性链])|脂血|脂浊|乳糜|黄疸标本|凝块|血小板.{0,4}[聚凝]集(?!试验|率|功能)"
    r"|[标样]本.{0,6}(?:黄疸|凝固|不合格|不符|异常|污染|陈旧|变质|过久|超时|量?不足|量少|有误|错误|稀释)"
    r"|(?:建议|请|须|需).{0,6}(?:复查|复检|复测|重新?[采抽送留检])|重[采抽]|重新[采抽送留]|存疑"
)
_BEDSIDE = re.compile(r"POCT|床[旁边]|血糖仪|即时检[验测]|指尖血糖|快速血糖", re.IGNORECASE)
_DENIAL = re.compile(r"(?:无|未见|未发现|没有|非|排除)(?:明显|溶血|脂血|乳糜|黄疸|凝块|[及和或、/ ])*$")


def specimens_of(report: Json, observation: Json | None, known: Mapping[str, Json]) -> tuple[Json, ...]:
    """Specimens of one result, else of its report; a reference that leads nowhere keeps what it displays."""
    own = (observation or {}).get("specimen")
    references = [own] if own else report.get("specimen", ())
    return tuple(known.get(reference_id(one, "Specimen")) or _only_named(one) for one in references)


def _only_named(reference: Json) -> Json:
    return {"type": {"text": reference["display"]}} if reference.get("display") else {}


def kinds_of(specimens: Iterable[Json]) -> tuple[str, ...]:
    """What they are, as printed: `血清`."""
    return tuple(filter(None, (concept_text(one.get("type", {})) for one in specimens)))


def is_of(item: RuleItem, kinds: Iterable[str]) -> bool:
    """True when each stated kind is one the item is measured in: a word of the sheet in it (`EDTA 抗凝血`), codes and
    single characters whole.
    """
    return all(any(_is(word, normal_name(kind)) for word in item.specimens) for kind in kinds)


def _is(word: str, kind: str) -> bool:
    return normal_name(word) == kind or (len(word) > 1 and not word.isascii() and word in kind)


def at_bedside(observation: Json) -> bool:
    """True for what was tested beside the patient (POCT), by its printed name or method."""
    said = f"{concept_text(observation.get('code', {}))} {concept_text(observation.get('method', {}))}"
    return bool(_BEDSIDE.search(unicodedata.normalize("NFKC", said)))


def doubt(report: Json, observation: Json | None, specimens: Iterable[Json]) -> str:
    """What the laboratory says against specimen or result (`轻度溶血`), in its own words cut short; "" for nothing."""
    for said in _remarks(report, observation, specimens):
        text = unicodedata.normalize("NFKC", said)
        if any(not _DENIAL.search(text[: found.start()]) for found in _DOUBTS.finditer(text)):
            told = said.strip()
            return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}…"
    return ""


def _remarks(report: Json, observation: Json | None, specimens: Iterable[Json]) -> Iterator[str]:
    for specimen in specimens:
        if specimen.get("status") == "unsatisfactory":
            yield "标本不合格"
        for concept in specimen.get("condition", ()):
            yield from (_SPOILT.get(str(c.get("code")), "") for c in _coded(concept, V2_0493))
            yield from ("标本不合格" for _ in _coded(concept, V2_0490))
            yield f"标本{concept_text(concept)}"
        yield from (str(note.get("text", "")) for note in specimen.get("note", ()))
    if observation is not None:
        yield from (str(note.get("text", "")) for note in observation.get("note", ()))
        yield printed_value(observation)[0]
        yield str(report.get("conclusion", ""))


def _coded(concept: Json, system: str) -> list[Json]:
    return [coding for coding in concept.get("coding", ()) if coding.get("system") == system]
