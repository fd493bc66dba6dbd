"""What to do with one source record: whose it is, and what a person has to look at.

Pure. Only a verified card links (D22); a name never does. Everything doubtful becomes a review.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from ..model.normalise import CardVerdict, name_key
from ..model.resource import Json
from .person import Record, name_of, verified_cards


class Code(StrEnum):
    """Reviews, as codes of the code system `REVIEW`."""

    CARD_CONTRADICTS = "card-contradicts-birth"
    CARD_UNVERIFIED = "card-unverified"
    CARD_NAME_DIFFERS = "card-name-differs"
    SAME_TRAITS = "same-name-birth-sex"
    MERGE_CONTRADICTS = "merge-contradicts-card"
    MERGE_UNDONE = "merge-undone"


REASONS_ZH = {
    Code.CARD_CONTRADICTS: "证件与出生日期不符",
    Code.CARD_UNVERIFIED: "证件号相同但未能核对",
    Code.CARD_NAME_DIFFERS: "证件号相同但姓名不同",
    Code.SAME_TRAITS: "姓名、出生日期、性别相同，无证件可核对",
    Code.MERGE_CONTRADICTS: "合并双方证件号不同",
    Code.MERGE_UNDONE: "医院的合并已撤销，是否同一人",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored or just made person a record may belong to."""

    id: str
    cards: frozenset[str]  # verified numbers
    name: str
    birth: str
    sex: str
    active: bool  # False: provisional; merged persons are no candidates

    @staticmethod
    def of(patient_id: str, patient: Json, today: date, *, active: bool) -> Candidate:
        """The candidate a Patient is."""
        return Candidate(
            id=patient_id,
            cards=verified_cards(patient, today),
            name=name_of(patient),
            birth=str(patient.get("birthDate", "")),
            sex=str(patient.get("gender", "")),
            active=active,
        )

    def same_traits(self, record: Record) -> bool:
        """True when name, birth date and sex are known and equal."""
        mine = (name_key(self.name), self.birth, self.sex)
        return all(mine) and len(self.birth) == 10 and mine == traits(record)


def traits(record: Record) -> tuple[str, str, str]:
    """Name as compared, birth date and sex of a record; "" where unknown."""
    return name_key(record.name), str(record.content.get("birthDate", "")), str(record.content.get("gender", ""))


@dataclass(frozen=True, slots=True)
class Review:
    """What a person has to decide about a record; `candidates` are Patient ids, sorted."""

    code: Code
    reason_zh: str
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """`patient` is the existing person, or "" for a new one; `provisional` marks a new, inactive one."""

    patient: str
    provisional: bool
    reviews: tuple[Review, ...]


def decide(record: Record, verdict: CardVerdict, by_card: Sequence[Candidate], alike: Sequence[Candidate]) -> Decision:
    """Whose record this is.

    by_card: persons that carry the record's card number, verified or not.
    alike: persons with its name, birth date and sex.
    A verified number links to the active person who holds it verified (the smallest id, should there be
    several). A number that belongs to somebody with another birth date or sex makes a provisional person.
    """
    if verdict.verified:
        if (holder := holder_of(verdict, by_card)) is not None:
            return Decision(holder.id, False, name_review(record, holder))
        return Decision("", False, _alike_review(record, [c for c in alike if c.active and not c.cards]))
    others = [*by_card, *alike]
    if verdict.contradicts:
        found = [c.id for c in others if c.active]
        return Decision("", True, (_review(Code.CARD_CONTRADICTS, found, verdict.reason_zh),))
    if verdict.code in ("birth-unknown", "sex-unknown") and any(c.active for c in by_card):
        return Decision("", False, (_review(Code.CARD_UNVERIFIED, [c.id for c in others if c.active]),))
    return Decision("", False, _alike_review(record, [c for c in alike if c.active]))


def holder_of(verdict: CardVerdict, by_card: Sequence[Candidate]) -> Candidate | None:
    """The active person who holds a card verified, the smallest id of several; None when nobody does."""
    holders = (c for c in by_card if c.active and verdict.value18 in c.cards)
    return min(holders, key=lambda c: c.id, default=None)


def _review(code: Code, candidates: Sequence[str], reason_zh: str = "") -> Review:
    return Review(code, reason_zh or REASONS_ZH[code], tuple(sorted(set(candidates))))


def name_review(record: Record, holder: Candidate) -> tuple[Review, ...]:
    """A link by card between unlike names is kept, and shown to a person: cards are lent."""
    mine, theirs = name_key(record.name), name_key(holder.name)
    if not mine or not theirs or mine == theirs or mine.isascii() != theirs.isascii():
        return ()
    return (_review(Code.CARD_NAME_DIFFERS, [holder.id]),)


def _alike_review(record: Record, found: Sequence[Candidate]) -> tuple[Review, ...]:
    same = [c.id for c in found if c.same_traits(record)]
    return (_review(Code.SAME_TRAITS, same),) if same else ()
