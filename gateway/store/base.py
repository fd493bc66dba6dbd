"""The store's contract: versioned FHIR resources, written by plans, read with a caller in hand.

Every engine passes tests/contract. Reads are `async def` on every engine; a write is one call,
`commit(plan)`, and a Plan is data: parsing, validation and key extraction happen before it, outside
any lock. Decisions: design-store §1–§10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from msgspec import Struct

from ..errors import Conflict
from ..model.context import AccessContext
from ..model.query import Query
from .figures import Figures

NO_TILL = 1 << 62
"""`till_tx` of a current version."""


def hash64(*parts: str) -> int:
    """Signed 64-bit hash of the parts, the number under which things are found."""
    digest = hashlib.blake2b("|".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@lru_cache(16384)
def fh_of(resource_type: str, resource_id: str) -> int:
    """Directory key of a resource."""
    return hash64(resource_type, resource_id)


def src_of(member: str, local_number: str) -> int:
    """Key of a source record: one patient as one member knows them. 0 is kept for "none"."""
    return hash64("src", member, local_number)


LABEL_BITS = {
    "R": 1, "V": 2,  # v3-Confidentiality: restricted, very restricted
    "HIV": 4, "STD": 4, "PSY": 8, "MH": 8, "ETH": 16, "SUD": 16, "SDV": 32, "SEX": 64, "GDIS": 128,
}  # fmt: skip
"""Security-label classes as bits of `acl`: a caller sees a row when `AccessContext.labels` has every bit of it.

Codes of v3-Confidentiality and v3-ActCode (information sensitivity); other codes (N, L, handling caveats) hide nothing.
"""


def label_bits(security: object) -> int:
    """`acl` of a resource from its `meta.security`, a list of Codings."""
    if not isinstance(security, list):
        return 0
    bits = 0
    for coding in security:
        bits |= LABEL_BITS.get(str(coding.get("code", "")), 0) if isinstance(coding, dict) else 0
    return bits


Wording = tuple[int, str, int]
"""Parameter number, normalised text, posting."""


class Keys(Struct, frozen=True, gc=False):
    """What searching needs to know of one version; made by `store/index.py`.

    tokens: postings, `hash64(type, param, value)`, `hash64(type, param, system, value)`, … (design-store §2).
    refs: (param number, fh of target). dates: (param number, first ms, last ms), epoch UTC.
    numbers: (param number, unit hash, value). texts: (param number, normalised text).
    present: which parameters have a value at all, as bits (`index_params.presence`).
    wordings: (param number, normalised text, posting): the words of codes, and what every row carries that says so.
    patients: fhs of the Patients it refers to. Neither of these two is kept with a row.
    """

    tokens: tuple[int, ...] = ()
    refs: tuple[tuple[int, int], ...] = ()
    dates: tuple[tuple[int, int, int], ...] = ()
    numbers: tuple[tuple[int, int, float], ...] = ()
    texts: tuple[tuple[int, str], ...] = ()
    present: int = 0
    wordings: tuple[Wording, ...] = ()
    patients: tuple[int, ...] = ()


def param_number(code: str) -> int:
    """31-bit number of a search parameter code, the same for every type and release."""
    return int.from_bytes(hashlib.blake2b(code.encode(), digest_size=4).digest(), "big") & 0x7FFFFFFF


# ---- what a plan is made of -------------------------------------------------------------------
class Put(Struct, frozen=True, gc=False):
    """A new version of one resource. `body` is JSON without `id` and `meta`, members in order.

    meta: the client's or the pipeline's meta members as JSON object (source, tag, profile, security), b"{}" if none.
    patient: id of the Patient in whose compartment it lies, "" for none (gives the home, design-store §1).
    expect: None = whatever is there; 0 = must not exist yet (a deleted one counts as absent); n = current version is n.
    Equal content is a no-op: no new version, `Written.changed` is False.
    """

    type: str
    id: str
    body: bytes
    keys: Keys
    meta: bytes = b"{}"
    patient: str = ""
    src: int = 0
    member: str = ""
    acl: int = 0
    expect: int | None = None


class PackedPut(Struct, frozen=True, array_like=True, gc=False):
    """A Put ready for its transaction (`bodies.pack_put`): everything costly was done outside it, maybe elsewhere.

    same: hash of the canonical content. home: fh of the Patient whose person it lies with, 0 = a shared home.
    words: postings. idents: hashes of identifiers. survivor: id of the Patient that replaces this one.
    dates, texts: what goes into the ordered tables. away: fhs of Patients it refers to but does not lie with.
    """

    type: str
    id: str
    fh: int
    flags: int
    member: str
    acl: int
    src: int
    home: int
    same: int
    expect: int | None
    words: tuple[int, ...]
    idents: tuple[int, ...]
    dates: tuple[tuple[int, int, int], ...]
    texts: tuple[tuple[int, str], ...]
    keys: bytes
    body: bytes
    wordings: tuple[Wording, ...]
    away: tuple[int, ...]
    survivor: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Logical deletion: a version without body; history stays."""

    type: str
    id: str
    expect: int | None = None


@dataclass(frozen=True, slots=True)
class RecordPut:
    """A source record and the Patient it belongs to. `content`: the demographics as JSON."""

    member: str
    local_number: str
    patient: str
    content: bytes
    said_at: str
    state: str = ""  # "" linked normally | "provisional"


@dataclass(frozen=True, slots=True)
class Move:
    """Move every row of the source records `srcs` from one Patient to another (merge, unlink, undo).

    Moved resources get a new version with `Patient/<from>` replaced by `Patient/<to>` (design-store §8).
    """

    srcs: tuple[int, ...]
    from_patient: str
    to_patient: str


@dataclass(frozen=True, slots=True)
class Done:
    """The message this plan settles: its raw key and the outcome as JSON, written with the effect."""

    raw_key: str
    outcome: bytes


class AuditRow(Struct, frozen=True, gc=False):
    """One audited event (IHE BALP is rendered from it). Never carries names or card numbers in clear.

    action: C R U D E. kind: rest | export | login | merge | message | page | query. subtype: read, search, create, ….
    entities: "Observation/abc" or "Observation/abc/_history/2". query: the request as sent (searches).
    """

    at: datetime
    action: str
    kind: str
    subtype: str
    outcome: str  # 0 success, 4 refused, 8 error
    user: str
    display: str
    role: str
    member: str
    purpose: str
    client: str = ""
    address: str = ""
    request_id: str = ""
    patients: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    query: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """Search criteria a plan rests on, as they were answered as of transaction `as_of`.

    The commit is a Conflict when the answer may have changed since: when a resource of `type` was written that
    carries, or once carried, one of `identifiers` (system, value); without identifiers, when another plan under the
    same canonical `criteria` wrote a resource of `type`. Equal criteria alone exclude each other then (§4).
    """

    type: str
    criteria: str
    as_of: int
    identifiers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Once:
    """The answer to a request under an Idempotency-Key, kept with its effect for a day (design-store §7).

    key: hash of the caller and the key. digest: of the request. said: what the answer is made from again.
    """

    key: int
    digest: bytes
    said: bytes


class Occupied(Conflict):
    """A Patient to be deleted has records, however often it is tried."""


class Plan(Struct, frozen=True):
    """One transaction as data. Order: preconditions, records, moves, puts, deletes, audit, done.

    puts: those their maker has not packed, the store packs.
    deletes: a Patient only while no other current resource lies with them, else it is Occupied.
    unclaimed: identifiers that no current resource may hold but those this plan puts over an expected version:
    (type, system, value).
    once: a second plan under the same key is a Conflict; its caller then reads the kept answer.
    rests: source records it was made from, as (key, how it stood then: `stand.py`, "" = nobody had sent it). One that
    changed since is a Conflict: what came from it must lie with it, and tell what it tells.
    """

    puts: tuple[Put | PackedPut, ...] = ()
    deletes: tuple[Delete, ...] = ()
    records: tuple[RecordPut, ...] = ()
    moves: tuple[Move, ...] = ()
    unclaimed: tuple[tuple[str, str, str], ...] = ()
    audits: tuple[AuditRow, ...] = ()
    done: tuple[Done, ...] = ()
    conditions: tuple[Condition, ...] = ()
    once: Once | None = None
    rests: tuple[tuple[int, str], ...] = ()


class Written(Struct, frozen=True, gc=False):
    """What became of one Put or Delete, in the plan's order."""

    type: str
    id: str
    version: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """tx numbers the order of commits; `at` never goes backwards."""

    tx: int
    at: datetime
    written: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a plan under an Idempotency-Key was, and what became of it."""

    digest: bytes
    said: bytes
    done: Committed


# ---- what a read gives ------------------------------------------------------------------------
class Resource(Struct, frozen=True, eq=False, weakref=True):
    """One version. `body` is the whole JSON with id and meta spliced in; b"" when deleted.

    patient: id of the Patient it is about, "" when it is about nobody, or deleted. revived: the version before says
    "deleted", as history tells. Compared by identity, so that what is made of a version can be remembered with it.
    """

    type: str
    id: str
    version: int
    at: datetime
    member: str
    src: int
    body: bytes
    deleted: bool = False
    patient: str = ""
    revived: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search. `next` is "" on the last page. Nothing above `as_of` (a tx) is in it.

    cut: more was to be included than an answer may hold.
    """

    matches: tuple[Resource, ...]
    included: tuple[Resource, ...]
    next: str
    total: int | None
    as_of: int
    at: datetime  # Bundle.meta.lastUpdated: the horizon
    cut: bool = False


class Past(Struct, frozen=True):
    """A question for versions. type, id: "" = all. below: where the page before ended.

    since: epoch ms, versions born then or later. during: first and last epoch ms, versions that were current at some
    moment between. as_of, at: the moment of the first page (transaction, epoch ms), 0 = now.
    """

    type: str
    id: str
    count: int
    since: int | None = None
    during: tuple[int, int] | None = None
    as_of: int = 0
    at: int = 0
    below: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class PastPage:
    """Versions newest first, deletions among them; `next` is where the following page begins, None on the last."""

    versions: tuple[Resource, ...]
    next: tuple[int, int] | None
    as_of: int
    at: datetime


class Whole(Struct, frozen=True):
    """A question for a whole record, of a Patient or an Encounter. types: empty = all.

    since: epoch ms, versions born then or later. care: first and last epoch ms a date of care must touch.
    as_of, at: the moment of the first page (transaction, epoch ms), 0 = now. below: where the page before ended; along:
    also what its resources refer to.
    """

    type: str
    id: str
    count: int
    types: frozenset[str] = frozenset()
    since: int | None = None
    care: tuple[int, int] | None = None
    as_of: int = 0
    at: int = 0
    below: tuple[int, int, int] | None = None
    along: bool = False


@dataclass(frozen=True, slots=True)
class WholePage:
    """The resource itself, then the newest first; `next` is where the following page begins, None on the last.

    along: what these refer to and is of nobody's record, as practitioners are.
    """

    resources: tuple[Resource, ...]
    along: tuple[Resource, ...]
    next: tuple[int, int, int] | None
    as_of: int
    at: datetime


@dataclass(frozen=True, slots=True)
class SourceRecordRow:
    """A stored source record."""

    src: int
    member: str
    local_number: str
    patient: str
    content: bytes
    said_at: str
    state: str


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Filter of the gateway's own audit rows; None = any. Newest first."""

    patient: str | None = None
    user: str | None = None
    entity: str | None = None
    action: str | None = None
    kind: str | None = None
    subtype: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    id: str | None = None
    limit: int = 50
    before: str = ""


class StoreReads(Protocol):
    """What is read with a caller in hand. `who` has no default: nobody reads without saying for whom."""

    store_key: bytes

    async def read(self, type_: str, id_: str, who: AccessContext) -> Resource | None:
        """The current version, also a deleted one; None when absent or not the caller's to know."""

    async def read_many(self, refs: list[tuple[str, str]], who: AccessContext) -> list[Resource]:
        """Current, not deleted versions of (type, id) pairs, in the order asked; absent ones left out."""

    async def vread(self, type_: str, id_: str, version: int, who: AccessContext) -> Resource | None:
        """One version."""

    async def history(self, type_: str, id_: str, who: AccessContext, *, count: int, before: int = 0) -> list[Resource]:
        """Versions of one resource, newest first; `before` is a version number to go on from."""

    async def past(self, asked: Past, who: AccessContext) -> PastPage:
        """Versions of an instance, a type or everything, as of one moment: of resources the caller may see now."""

    async def merged(self, patient_id: str) -> bool:
        """Whether another Patient reads in place of this one; who may know of either is another question."""

    async def search(self, query: Query, who: AccessContext) -> Page:
        """Current versions that match; all pages of one search see the same moment."""

    async def everything(
        self, patient_id: str, who: AccessContext, *, types: frozenset[str] | None = None
    ) -> list[Resource]:
        """The Patient and every current resource of the person; superseded Patients lead to their survivor."""

    async def whole(self, asked: Whole, who: AccessContext) -> WholePage:
        """A page of a whole record; all pages see the same moment. A superseded Patient is not led on."""

    async def withheld(self, patient_id: str, who: AccessContext, types: frozenset[str]) -> Mapping[str, int]:
        """How many current resources of a person, by type, labels alone keep from the caller."""

    def horizon(self) -> tuple[int, datetime]:
        """The newest committed transaction and its instant; nothing can still commit at or below it."""


class Store(StoreReads, Protocol):
    """What the rest of the gateway sees."""

    async def find_identifier(self, type_: str, system: str, value: str) -> list[Resource]:
        """Current resources with exactly this identifier, verified on the decoded value: by nobody's eyes."""

    async def records(self, keys: list[tuple[str, str]]) -> list[SourceRecordRow | None]:
        """Source records by (member, local number), in the order asked."""

    async def records_of(self, patient_id: str) -> list[SourceRecordRow]:
        """All source records that belong to a Patient now."""

    async def done(self, raw_keys: list[str]) -> dict[str, bytes]:
        """Outcomes of messages already settled, by raw key."""

    async def commit(self, plan: Plan) -> Committed:
        """All or nothing. Raises Conflict when a precondition does not hold; nothing was written then."""

    async def kept(self, key: int) -> Kept | None:
        """The kept answer under an Idempotency-Key, None when there is none or its day is over."""

    def disclose(self, row: AuditRow) -> Awaitable[None]:
        """Done once the disclosure is durable in the audit log; never waits for the store's writer."""

    async def audits(self, query: AuditQuery) -> list[tuple[str, AuditRow]]:
        """Audit rows with their ids (effects and disclosures merged by time), newest first."""

    async def freshness(self) -> dict[str, datetime]:
        """By member, when something it sent was last committed, whether or not it was new."""

    async def figures(self) -> Figures:
        """What an operator watches."""

    async def close(self) -> None:
        """Stops writers, checkpoints, closes files."""
