"""What an engine must give, and nothing more: the shared search and the facade are written on these primitives.

A row key is one number everywhere above the engines, `rid = person << 24 | seq`; an engine with two
columns splits it at its own door. Every primitive that reads rows takes a `Sight` and compiles it
into its SQL, so no row can be reached that the caller may not know of (design-store §9).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from msgspec import Struct

from ..model.context import EVERY_LABEL
from .base import Committed, Delete, Kept, Move, Occupied, Once, PackedPut, RecordPut, SourceRecordRow, Wording, fh_of
from .figures import Commits
from .young import Young
from .zone import Group, Stretch, Zone

if TYPE_CHECKING:
    from .pages import Pages

SEQ_BITS = 24
SHARED_HOMES = 4096
"""Persons 0 … 4,095 are homes of rows that belong to no patient, chosen by hash of type and id."""

DAY_MS = 86_400_000
"""How long the answer under an Idempotency-Key is kept."""
RETIRED, DELETED = 1, 2
"""Bits of `Row.flags`: a superseded or provisional Patient; a version that says "deleted"."""

CURRENT_BY_TYPE = (
    f"SELECT name.text, sum(size.live) FROM size JOIN name ON name.no = size.typ WHERE size.flags & {DELETED} = 0"
    " GROUP BY name.text HAVING sum(size.live) > 0"
)


def home_of(fh: int) -> int:
    """Shared home of a row without patient."""
    return fh & (SHARED_HOMES - 1)


class Row(NamedTuple):
    """One version as stored. keys, body: packed (`packing`, `bodies`); body b"" when not asked for."""

    rid: int
    tx: int
    type: str
    flags: int
    member: str
    acl: int
    version: int
    at: int  # epoch ms
    fh: int
    src: int
    prev: int
    id: str
    keys: bytes
    body: bytes


Homes = Sequence[tuple[int, int]]
"""fh and person of some Patients."""
Place = tuple[int, int]
"""(tx, rid) of a row."""


class Sight(Struct, frozen=True):
    """What one caller sees at one moment: types and members (None = all), label bits, state of the row."""

    as_of: int
    types: frozenset[str] | None
    members: frozenset[str] | None
    labels: int
    retired: bool = True
    deleted: bool = False


LATEST = (1 << 62) - 1
"""An `as_of` no commit will ever reach: the current versions."""


def told_by_records(sight: Sight, row: Row) -> bool:
    """True for a Patient of another member: a caller limited to members sees those its members know by a number."""
    return sight.members is not None and row.type == "Patient" and bool(row.member) and row.member not in sight.members


def sees(sight: Sight, row: Row) -> bool:
    """What an engine's SQL says of a current row, for a row in hand (design-store §9); not `told_by_records`."""
    return (sight.types is None or row.type in sight.types) and allows(sight, row.member, row.acl, row.flags)


def allows(sight: Sight, member: str, acl: int, flags: int) -> bool:
    """The same of any row with this member, these labels and flags, whatever its type."""
    hidden = (0 if sight.retired else RETIRED) | (0 if sight.deleted else DELETED)
    return (
        not flags & hidden
        and (sight.members is None or not member or member in sight.members)
        and (sight.labels == EVERY_LABEL or not acl & ~sight.labels)
    )


def tallied(sizes: Iterable[tuple[str, int, int, int]], sight: Sight) -> int:
    """Of rows (member, labels, flags, how many) those a caller sees."""
    return sum([live for member, acl, flags, live in sizes if allows(sight, member, acl, flags)])


def by_records(type_: str, sight: Sight) -> bool:
    """Whether source records decide which rows of a type are seen: a caller limited to members asks for Patients."""
    return type_ == "Patient" and sight.members is not None


@dataclass(frozen=True, slots=True)
class Match:
    """Postings asked for: of every group in `all` one word, of `none` no word.

    bits: of `Keys.present`, each with whether it must be off. They spare rows on a walk; whoever finds rows by postings
    need not look at them, so the caller tests them again.
    """

    all: tuple[tuple[int, ...], ...] = ()
    none: tuple[int, ...] = ()
    bits: tuple[tuple[int, bool], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all or self.none or self.bits)

    @property
    def one_word(self) -> bool:
        """Whether one posting says it all: as many are looked at as are asked for."""
        return len(self.all) == 1 == len(self.all[0]) and not self.none


NOTHING = Match()


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of an ordered table: dates whose range overlaps [low, high] (epoch ms), or all normalised texts.

    A row appears once for each of its values, at a date's first instant.
    """

    table: Literal["date", "text"]
    param: int
    low: int = -(1 << 62)
    high: int = 1 << 62


class Placed(NamedTuple):
    """A row at its place in an ordered table."""

    value: int | str
    row: Row


class Indexed(NamedTuple):
    """Fresh keys of a version that is stored already. before: its keys until now, packed."""

    rid: int
    type: str
    words: tuple[int, ...]
    dates: tuple[tuple[int, int, int], ...]
    texts: tuple[tuple[int, str], ...]
    wordings: tuple[Wording, ...]
    away: tuple[int, ...]
    keys: bytes
    before: bytes


@dataclass(frozen=True, slots=True)
class PackedMove:
    """A Move with its rows rewritten. `rids` are all rows it found; the transaction must find the same."""

    move: Move
    source: int  # fh of the Patient moved from
    rids: tuple[int, ...]
    puts: tuple[PackedPut, ...]


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """An identifier nobody may hold. seen: versions (fh, version) already looked at and found innocent."""

    h: int
    seen: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PackedCondition:
    """Criteria answered as of a transaction. h: hash of an identifier, or of the criteria when `claims`.

    An identifier: no resource that carries it may be younger. Criteria: no plan under them that wrote what they ask
    for may be. writes: this one does.
    """

    h: int
    as_of: int
    claims: bool
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Vacant:
    """A Patient with whom nothing may lie: their id and fh, and the posting of what lies in their compartment."""

    id: str
    fh: int
    word: int

    def refuse(self, plan: PackedPlan, lying: Iterable[int]) -> None:
        """Raises Occupied. lying: fhs of current resources in their home or compartment, Patients left out."""
        gone = {fh_of(one.type, one.id) for one in plan.deletes}
        new = any(put.home == self.fh or self.word in put.words for put in puts_of(plan) if put.type != "Patient")
        if new or not gone.issuperset(lying):
            raise Occupied(f"Patient/{self.id}", "the person has records", detail_zh="该居民还有记录，不能删除。")


class PackedPlan(Struct, frozen=True):
    """One transaction, ready. `audits` are encoded AuditRows; `done` (raw key, outcome).

    led: superseded Patients whose writes were led on, as (fh, id of the one next in place); it must still be so.
    vacant: Patients it deletes; when they are there, no other current resource that it leaves may lie with them.
    """

    at: datetime
    puts: tuple[PackedPut, ...] = ()
    deletes: tuple[Delete, ...] = ()
    records: tuple[RecordPut, ...] = ()
    moves: tuple[PackedMove, ...] = ()
    unclaimed: tuple[Unclaimed, ...] = ()
    audits: tuple[bytes, ...] = ()
    done: tuple[tuple[str, bytes], ...] = ()
    conditions: tuple[PackedCondition, ...] = ()
    once: Once | None = None
    rests: tuple[tuple[int, str], ...] = ()
    led: tuple[tuple[int, str], ...] = ()
    vacant: tuple[Vacant, ...] = ()


def puts_of(plan: PackedPlan) -> list[PackedPut]:
    """All a plan writes, what it moves among it."""
    return [*plan.puts, *(put for move in plan.moves for put in move.puts)]


def names_of(plan: PackedPlan) -> set[str]:
    """Types and member keys a plan mentions: an engine knows them by small numbers."""
    return {name for put in puts_of(plan) for name in (put.type, put.member)} | {one.member for one in plan.records}


class Replan(Exception):
    """What the plan was made from changed before its transaction: make it again."""


class ZonesKept(Protocol):
    """Zones kept beside the rows. young: what is younger than the last of them."""

    young: Young

    async def of(self, type_: str) -> list[Group]:
        """Those of a type, oldest first, without a gap from the first transaction on."""


class Zones(ZonesKept, Protocol):
    """The same, and how more come to be."""

    async def stretch(self, type_: str, after: int, count: int) -> list[Stretch]:
        """All versions of the next transactions that together have so many; [] while there are fewer."""

    async def keep(self, type_: str, zone: Zone) -> None:
        """Keep one more, in place of those it covers. All are dropped when versions are indexed anew."""


class Reads(Protocol):
    """What a search asks of a database that keeps rows. Reads never wait for a writer."""

    store_key: bytes

    @property
    def pages(self) -> Pages:
        """Pages given lately, true as of the last `moment`."""

    @property
    def zones(self) -> ZonesKept:
        """What long stretches of versions have in common."""

    def horizon(self) -> tuple[int, datetime]:
        """Newest committed transaction this process knows of, and its instant."""

    async def moment(self) -> tuple[int, datetime]:
        """Newest committed transaction of all processes, and its instant; a search asks as of it."""

    async def current(self, fhs: Sequence[int], sight: Sight) -> dict[int, Row]:
        """By directory: the version visible at `sight.as_of` of each resource, where the sight allows."""

    async def chain(self, fh: int, *, below: int, limit: int) -> list[Row]:
        """Versions under number `below`, newest first, of a resource whose current row was judged already."""

    async def person(self, fh: int) -> int | None:
        """Person number of a Patient ever mentioned."""

    async def survivors(self, fhs: Sequence[int]) -> dict[int, str]:
        """Of superseded Patients the id of the one that replaces them; who stands for itself is left out."""

    async def led(self, fhs: Sequence[int]) -> dict[int, str]:
        """The same as of the last `moment`, for a search that has just asked for it."""

    async def home(
        self, person: int, sight: Sight, *, types: Sequence[str], match: Match, below: int, limit: int, bodies: bool
    ) -> list[Row]:
        """Rows of a person's home, newest first, rid < below; types () = all."""

    async def homes(
        self, persons: Sequence[int], sight: Sight, *, types: Sequence[str], match: Match, below: Place, limit: int
    ) -> list[Row]:
        """Rows of several homes before a place, with bodies, newest first."""

    async def newest(
        self,
        type_: str,
        sight: Sight,
        *,
        match: Match,
        between: tuple[int, int],
        after: tuple[int, int] | None,
        limit: int,
        ascending: bool,
        bodies: bool = False,
    ) -> list[Row]:
        """Rows of a type in order of (tx, rid), first ≤ tx ≤ last of `between`, going on after that place."""

    async def versions(
        self,
        types: Sequence[str],
        sight: Sight,
        *,
        between: tuple[int, int],
        alive: int,
        below: tuple[int, int],
        limit: int,
    ) -> list[Row]:
        """All versions in order of (tx, rid), newest first, below that place; types () = all the sight allows.

        Born with first ≤ tx ≤ last of `between`, not replaced before transaction `alive`. Of the sight, members and
        labels are asked of the current version of each resource.
        """

    async def size(self, type_: str) -> int:
        """About how many versions of a type there are."""

    async def tally(self, type_: str, sight: Sight) -> tuple[int, int] | None:
        """How many resources of a type a caller sees now, at no cost a row, and as of which transaction.

        None when what a caller sees depends on more than the row.
        """

    async def wordings(self, type_: str, param: int, start: str, limit: int) -> list[int] | None:
        """Postings one of which every row carries that has a code in words beginning so; None for more than `limit`."""

    async def first_tx(self, at_ms: int) -> int:
        """The first transaction at or after an instant; one above the newest when there is none."""

    async def ordered(
        self,
        type_: str,
        sight: Sight,
        span: Span,
        *,
        match: Match,
        after: tuple[int | str, int] | None,
        limit: int,
        descending: bool,
    ) -> list[Placed]:
        """Rows along an ordered table, going on after (value, rid)."""

    async def hits(
        self,
        match: Match,
        sight: Sight,
        *,
        types: Sequence[str],
        limit: int,
    ) -> list[Row] | None:
        """Rows found by postings, in no order and without bodies; None when there are more postings than `limit`.

        `match.all` is not empty.
        """

    async def latest(
        self, type_: str, sight: Sight, *, match: Match, below: Place, first: int, limit: int
    ) -> list[Row] | None:
        """Of rows found by postings the `first` newest before a place, with bodies; None as with `hits`."""

    async def away(self, homes: Homes, sight: Sight, *, types: Sequence[str], match: Match) -> list[Row]:
        """Rows that refer to one of these Patients but lie outside the home of each, without bodies."""

    async def count(self, type_: str, sight: Sight, match: Match, between: tuple[int, int]) -> int:
        """How many rows match, of those with first ≤ tx ≤ last of `between`."""

    async def rows(self, rids: Sequence[int], sight: Sight, match: Match = NOTHING) -> dict[int, Row]:
        """Rows by key that match, with bodies."""

    async def deletions(self, rids: Sequence[int]) -> set[int]:
        """Those of these versions that say "deleted"."""


class Engine(Reads, Protocol):
    """A database that keeps rows."""

    @property
    def zones(self) -> Zones:
        """What long stretches of versions have in common."""

    async def current_by_type(self) -> dict[str, int]:
        """How many resources there are now, at no cost a row."""

    @property
    def commits(self) -> Commits:
        """What this process committed."""

    async def identified(self, h: int, sight: Sight) -> list[Row]:
        """Current resources that carry, or once carried, an identifier with this hash."""

    async def to_move(self, move: Move) -> list[Row]:
        """Current rows of the source records in the home of the Patient moved from, Patients left out."""

    async def changes(self, after: int, upto: int, sight: Sight, limit: int) -> list[Row]:
        """Versions with after < tx ≤ upto, in order of (tx, rid), whole transactions may be cut by `limit`."""

    async def records(self, srcs: Sequence[int]) -> dict[int, SourceRecordRow]:
        """Source records by key."""

    async def records_of(self, patient: str) -> list[SourceRecordRow]:
        """Source records of a Patient."""

    async def done(self, raw_keys: Sequence[str]) -> dict[str, bytes]:
        """Outcomes of settled messages."""

    async def kept(self, key: int) -> Kept | None:
        """The answer under an Idempotency-Key."""

    async def effects(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Encoded audit rows of effects with their numbers, oldest first."""

    async def effects_after(self, number: int) -> int:
        """How many effects there are behind a number."""

    async def effects_by_number(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Encoded audit rows of effects."""

    async def freshness(self) -> dict[str, datetime]:
        """By member, when something it sent was last committed."""

    async def commit(self, plan: PackedPlan) -> Committed:
        """All or nothing, durable on return. Raises Conflict, or Replan when a read of the plan is stale."""

    async def settle(self) -> int:
        """While few commit, put postings so that finding costs less; how many steps were made, at most some."""

    async def purge(self, before: datetime, limit: int) -> int:
        """Drop the postings of versions closed before an instant; how many, at most `limit`."""

    async def indexed(self, fresh: Sequence[Indexed]) -> None:
        """Replace what current versions are found by; one that was closed meanwhile is left as it is."""

    async def noted(self, name: str) -> bytes | None:
        """What `note` kept under a name."""

    async def note(self, name: str, value: bytes) -> None:
        """Keep a fact about the store as a whole."""

    async def forget(self, claimed: datetime, kept: datetime) -> None:
        """Drop claims of criteria and kept answers older than these instants."""

    async def dictionaries(self, known: dict[int, bytes]) -> dict[int, bytes]:
        """Keep the dictionaries shipped (zstd id → bytes); all that were ever in use."""

    async def close(self) -> None:
        """Finish and close."""
