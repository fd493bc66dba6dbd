"""What a whole message revises: the only part of `revise` that reads the store.

A message about things nobody stored yet costs one read and passes through untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..model.context import SYSTEM
from ..model.message import DraftResource
from ..model.outcome import Finding
from ..model.query import Filter, Query
from ..model.resource import Json, dumps, loads, reference_id, type_and_id
from ..store.aside import aside
from ..store.base import Move, Resource, Store
from .allergies import disproved
from .carry import filed_with, subject_of
from .document import orphaned_reports, plan_document, replaced_by
from .link import SUBJECT, linked, moved, now_there
from .meet import met
from .moved import Home, moved_away
from .report import Mode, issue_of, items_below, plan_report
from .study import grown
from .told import Told, first_meta, said_meta, told
from .version import History, Step, Version, bare, kept, ref_of, sent

_FOLLOWERS = frozenset({"Observation", "Specimen", "Provenance"})
"""Types stored only together with a head, so that no stored head means they are new."""

_OWN_ORDER = frozenset({"DiagnosticReport", "ImagingStudy"})
"""Types with an order of their own among their versions; of all other heads the later statement wins (`told.py`)."""

_HISTORY = 50
_MANY_PARTS = 32
"""Parts of a study above which they are merged in a thread."""


@dataclass(frozen=True, slots=True)
class Revised:
    """What to put, in order, instead of the draft's resources. Two of one id: history first, current on top."""

    ordered: tuple[Step, ...]
    findings: tuple[Finding, ...] = ()


async def revise(
    store: Store,
    drafts: Sequence[DraftResource],
    *,
    mode: Mode,
    said_at: datetime | None,
    srcs: Sequence[int] = (),
    moves: Sequence[Move] = (),
    carries: Sequence[str] = (),
    insists: bool = False,
) -> Revised:
    """The drafts, measured against what is stored under their ids.

    srcs: source records of the message. moves: what the same plan moves between Patients first, so that nothing is
    written back to the old one. insists: saying again what is stored makes a version, so that its time moves.
    carries: `Encounter/id` of visits that take along what was filed with them.
    Raises StudyOfAnother for an image filed under another patient's study.
    """
    heads = [(one.type, one.id) for one in drafts if one.type not in _FOLLOWERS]
    stored = {f"{one.type}/{one.id}": one for one in await store.read_many(list(dict.fromkeys(heads)), SYSTEM)}
    homes, back, elsewhere = await moved_away(store, drafts, stored, srcs, moves, said_at)
    drafts, apart = await linked(store, [_at_home(one, homes) for one in drafts], moves)
    drafts, refuted = await disproved(store, drafts, stored, srcs)
    towards, waiting = await now_there(store, drafts, stored, moves)
    towards += refuted
    elsewhere += [*apart, *waiting]
    if not stored and not any(map(_needs_a_look, drafts)):
        steps = [*_homed([_first(one, said_at) for one in drafts], homes), *towards]
        return Revised(tuple(await met(store, steps, moves)), tuple(elsewhere))
    desk = _Desk(store, drafts, stored, mode, said_at, moves, insists)
    desk.carries = frozenset((*carries, *back))
    await desk.load()
    made = await desk.work()
    steps = [*_homed(made.ordered, homes), *towards, *await desk.carried()]
    return Revised(tuple(await met(store, steps, moves, desk.between)), (*made.findings, *elsewhere))


def _at_home(one: DraftResource, homes: Mapping[str, Home]) -> DraftResource:
    """The draft about the Patient its visit has now."""
    home = homes.get(f"{one.type}/{one.id}")
    if home is None or not (found := SUBJECT.search(one.body)):
        return one
    return one._replace(body=one.body.replace(b'"%s"' % found[1], f'"Patient/{home.patient}"'.encode()))


def _homed(steps: Iterable[Step], homes: Mapping[str, Home]) -> tuple[Step, ...]:
    """The steps, those of a visit moved away under the source record it has now."""
    return tuple(
        step._replace(src=home.src, patient=home.patient) if (home := homes.get(f"{r.type}/{r.id}")) else step
        for step in steps
        for r in (step.resource,)
    )


def _first(one: DraftResource, said_at: datetime | None) -> Step:
    if one.type in _FOLLOWERS:
        return Step(one, None, {})
    return Step(one, 0, {} if one.type == "ImagingStudy" else first_meta(one, said_at))


def _needs_a_look(one: DraftResource) -> bool:
    """New things that still are not put as they come: parts of a study, documents, void items."""
    return one.type in ("ImagingStudy", "DocumentReference") or b'"entered-in-error"' in one.body


class _Desk:
    """One message's drafts beside the stored versions of the same ids."""

    def __init__(
        self,
        store: Store,
        drafts: Sequence[DraftResource],
        stored: dict[str, Resource],
        mode: Mode,
        said_at: datetime | None,
        moves: Sequence[Move],
        insists: bool,
    ) -> None:
        self.store, self.drafts, self.rows, self.insists = store, drafts, stored, insists
        self.mode, self.said_at, self.moves = mode, said_at, moves
        self.carries: frozenset[str] = frozenset()  # visits that take along what was filed with them
        self.bodies: dict[str, Json] = {}
        self.steps: list[Step] = []
        self.findings: list[Finding] = []
        self.metas: dict[str, Json] = {}  # what a resource told by several messages remembers of them
        self.late: set[str] = set()  # types of which a newer message had told before
        self.remembered: set[str] = set()  # what gets a version though only its meta changes
        self.between: list[str] = []  # Patients between whom visits carried something

    # ---- reading
    async def load(self) -> None:
        """Read the followers, the items of stored reports below them, and replaced documents."""
        self.bodies = {ref: self._open(row) for ref, row in self.rows.items()}
        documents = [one.json for one in self.drafts if one.type == "DocumentReference"]
        wanted = [f"{one.type}/{one.id}" for one in self.drafts if one.type in _FOLLOWERS]
        await self._read([*wanted, *(ref for one in documents for ref in replaced_by(one))])
        await self._read(
            ref
            for one in documents
            for older in replaced_by(one)
            for ref in orphaned_reports(one, self.bodies.get(older, {}))
        )
        await self._below(body for body in self.bodies.values() if body["resourceType"] == "DiagnosticReport")

    async def _below(self, roots: Iterable[Json]) -> None:
        roots = list(roots)
        while missing := [ref for ref in items_below(roots, self.bodies) if ref not in self.bodies]:
            if not await self._read(missing):
                return

    async def _read(self, refs: Iterable[str]) -> int:
        wanted = [type_and_id(ref) for ref in dict.fromkeys(refs) if ref not in self.bodies]
        found = await self.store.read_many(wanted, SYSTEM) if wanted else []
        for row in found:
            ref = f"{row.type}/{row.id}"
            self.rows[ref], self.bodies[ref] = row, self._open(row)
        return len(found)

    def _open(self, row: Resource) -> Json:
        return loads(moved(row, self.moves))

    async def _history(self, refs: Iterable[str]) -> History:
        out: dict[str, tuple[Json, ...]] = {}
        for ref in refs:
            if ref in self.rows:
                type_, _, id_ = ref.partition("/")
                rows = await self.store.history(type_, id_, SYSTEM, count=_HISTORY)
                out[ref] = tuple(loads(row.body) for row in rows if row.body)
        return out

    # ---- deciding
    async def work(self) -> Revised:
        """Every draft once, with the unit it belongs to."""
        self.drafts = [self._whole(one) for one in self.drafts]
        taken: set[int] = set()
        for place, one in enumerate(self.drafts):
            if place in taken:
                continue
            if one.type == "DiagnosticReport":
                taken |= await self._report(place)
        left = [one for place, one in enumerate(self.drafts) if place not in taken]
        for one in left:
            if one.type in _FOLLOWERS:
                continue
            if one.type == "ImagingStudy":
                await self._study(one)
            elif one.type == "DocumentReference":
                await self._document(one)
            else:
                self._head(one)
        for one in left:
            if one.type in _FOLLOWERS:
                self._follower(one)
        return Revised(tuple(self.steps), (*self.findings, *_lateness(self.late)))

    def _whole(self, one: DraftResource) -> DraftResource:
        """An update of what has an order of its own, with what it leaves as it is stored."""
        old = self.bodies.get(f"{one.type}/{one.id}")
        if old is None or one.gone is None or one.type not in _OWN_ORDER:
            return one
        return one._replace(body=dumps(told(old, one, None).body))

    async def _report(self, place: int) -> set[int]:
        """One report with its items; gives the places of the drafts it used."""
        one = self.drafts[place]
        same = [n for n, d in enumerate(self.drafts) if (d.type, d.id) == (one.type, one.id)]
        report = _one_report([self.drafts[n].json for n in same])
        places, items = self._unit(report)
        if f"{one.type}/{one.id}" not in self.bodies and not any(map(_void, [one, *(self.drafts[n] for n in places)])):
            new = [one if len(same) == 1 else one._replace(body=dumps(report)), *(self.drafts[n] for n in places)]
            for draft in new:
                self._pass(draft)
            return {*same, *places}
        history: History = {}
        old = self.bodies.get(f"{one.type}/{one.id}")
        self._ask_whose(old, report, "DiagnosticReport.subject", "报告单号")
        if old is not None and issue_of(report, self.said_at).before(issue_of(old)):
            history = await self._history(map(ref_of, [report, *items]))
        made = plan_report([report, *items], self.bodies, self.mode, said_at=self.said_at, history=history)
        for version in made.versions:
            self._put(version, one.record)
        self.findings += made.findings
        return {*same, *places}

    def _unit(self, report: Json) -> tuple[list[int], list[Json]]:
        """The drafts a report leads to: items, items of items, the specimens."""
        drafts = {
            f"{d.type}/{d.id}": (n, d) for n, d in enumerate(self.drafts) if d.type in ("Observation", "Specimen")
        }
        bodies = {ref: draft.json for ref, (_, draft) in drafts.items()}
        specimens = [f"Specimen/{reference_id(one, 'Specimen')}" for one in report.get("specimen", ())]
        found = [ref for ref in [*specimens, *items_below([report], bodies)] if ref in drafts]
        return [drafts[ref][0] for ref in found], [bodies[ref] for ref in found]

    async def _study(self, one: DraftResource) -> None:
        """All parts of a study in the message at once, when the first of them comes."""
        ref = f"{one.type}/{one.id}"
        if any(f"{step.resource.type}/{step.resource.id}" == ref for step in self.steps):
            return
        parts = [part.json for part in self.drafts if (part.type, part.id) == (one.type, one.id)]
        merged = await aside(len(parts) > _MANY_PARTS, grown, self.bodies.get(ref), parts)
        self.findings += merged.findings
        self._put(sent(merged.body), one.record)

    def _told(self, one: DraftResource) -> Told | None:
        """The stored resource after the message, None when there is none yet."""
        ref = f"{one.type}/{one.id}"
        old = self.bodies.get(ref)
        if old is None:
            self.metas[ref] = first_meta(one, self.said_at)
            return None
        made = told(old, one, self.said_at, carried=ref in self.carries)
        if not made.late and ref not in self.carries:
            self._ask_whose(old, one.json, f"{one.type}.subject", "号码")
        self.metas[ref] = made.meta
        if made.late:
            self.late.add(one.type)
        if self.insists or made.deletes:
            self.remembered.add(ref)
        return made

    def _head(self, one: DraftResource) -> None:
        """What the newest messages tell of it; a late one adds what nobody told since."""
        made = self._told(one)
        if made is None:
            self.steps.append(_first(one, self.said_at))
        elif not made.late or self._changes(made):
            self._put(sent(made.body), one.record, late=made.late)

    def _changes(self, made: Told) -> bool:
        """Whether a late message adds to what is stored, or to what is remembered of it."""
        ref = ref_of(made.body)
        old = self.bodies[ref]
        remembers = ref in self.remembered and made.meta.get("extension") != old.get("meta", {}).get("extension")
        return remembers or bare(made.body) != bare(old)

    def _follower(self, one: DraftResource) -> None:
        """Stored with its head; beside a late one it is stored only where nobody told of it since."""
        if not self.late or one.type == "Provenance" or f"{one.type}/{one.id}" not in self.bodies:
            self._pass(one)

    async def _document(self, one: DraftResource) -> None:
        made = self._told(one)
        document = made.body if made else one.json
        newer = Query("DocumentReference", (Filter("relatesto", "reference", (f"DocumentReference/{one.id}",)),))
        replaced = [loads(row.body) for row in (await self.store.search(newer, SYSTEM)).matches]
        for version in plan_document(
            document, self.bodies, any(f"{one.type}/{one.id}" in replaced_by(d) for d in replaced)
        ):
            self._put(version, one.record, late=bool(made and made.late))
        for ref in replaced_by(document):
            self._ask_whose(self.bodies.get(ref), document, "DocumentReference.relatesTo", "被替换文档的编号")
        lost = [ref for old in replaced_by(document) for ref in orphaned_reports(document, self.bodies.get(old, {}))]
        lost += [ref for new in replaced for ref in orphaned_reports(new, document)]
        for ref in dict.fromkeys(lost):
            self._void(ref, one.record)

    def _ask_whose(self, old: Json | None, new: Json, place: str, number: str) -> None:
        """Tell that a number takes from another resident what was filed for them: a correction, or a wrong number."""
        if not old or self.moves or subject_of(old) in ("", subject_of(new)):
            return
        zh = f"{number}此前是另一位居民的：那位居民的原内容已作废或改归本次的居民。若不是更正，请核对号码后重发双方。"
        en = "The number was another resident's: what was filed for them is void, or this resident's now."
        self.findings.append(Finding("GW-REV-008", "warning", place, zh, en))

    def _void(self, ref: str, record: int) -> None:
        """A report whose document was replaced by one with another report: it no longer counts, nor do its items."""
        new = {f"{s.resource.type}/{s.resource.id}": loads(s.resource.body) for s in self.steps}
        known = self.bodies | new
        report = known.get(ref)
        if report is None or report.get("status") == "entered-in-error":
            return
        for one in [*items_below([report], known), ref]:
            body = known.get(one, {})
            if body and body.get("status") != "entered-in-error":
                body = {**body, "meta": self.bodies.get(one, {}).get("meta", {})}
                self._put(kept(body, status="entered-in-error", result=None), record)

    async def carried(self) -> list[Step]:
        """What was filed with these visits, under the Patient and the source record they have now."""
        own, out = {f"{one.type}/{one.id}" for one in self.drafts}, list[Step]()
        for one in self.drafts:
            ref = f"{one.type}/{one.id}"
            old, new = subject_of(self.bodies.get(ref, {})), subject_of(one.json)
            if ref not in self.carries or not old or old == new or self.late:
                continue
            self.between += [old, new]
            for row in await filed_with(self.store, one.id, old):
                if f"{row.type}/{row.id}" not in own:
                    body = row.body.replace(f'"Patient/{old}"'.encode(), f'"Patient/{new}"'.encode())
                    version = kept(loads(body))
                    draft = DraftResource(
                        row.type, row.id, dumps({"resourceType": row.type, "id": row.id} | version.body)
                    )
                    out.append(Step(draft._replace(record=one.record), row.version, version.meta or {}))
        return out

    # ---- putting
    def _pass(self, one: DraftResource) -> None:
        ref = f"{one.type}/{one.id}"
        if ref in self.rows:
            self._put(sent(one.json), one.record)
        else:
            self.steps.append(_first(one, self.said_at))

    def _put(self, version: Version, record: int, *, late: bool = False) -> None:
        """late: the message only adds to what a newer one told. What it leaves is still the newer one's record's."""
        row = self.rows.get(version.ref)
        left = (late or version.meta is not None) and _about(version.body) == _about(self.bodies.get(version.ref, {}))
        src = row.src if row and left else 0
        expect = row.version if row else (None if version.type in _FOLLOWERS else 0)
        meta = self._meta(version) if version.meta is None else version.meta
        body = dumps({"resourceType": version.type, "id": version.id} | version.body)
        self.steps.append(Step(DraftResource(version.type, version.id, body, record), expect, meta, src))

    def _meta(self, version: Version) -> Json:
        """A stored label stays on the resource; the very same content stays the very same version, mostly."""
        old = self.bodies.get(version.ref, {})
        meta = self.metas.get(version.ref, {})
        if version.type == "DiagnosticReport":
            meta = said_meta(self.said_at)
        if bare(old) == version.body and version.ref not in self.remembered:
            meta = {key: old["meta"][key] for key in ("extension",) if key in old.get("meta", {})}
        labels = old.get("meta", {}).get("security")
        return meta | ({"security": labels} if labels else {})


def _about(body: Json) -> tuple[object, object]:
    return body.get("subject"), body.get("patient")


def _one_report(parts: Sequence[Json]) -> Json:
    """Several drafts of one report in one message (rows of a file): the last, with everybody's results."""
    results = {one.get("reference"): one for part in parts for one in part.get("result", ())}
    return {**parts[-1], "result": list(results.values())} if results else parts[-1]


def _void(one: DraftResource) -> bool:
    return b'"entered-in-error"' in one.body


def _lateness(types: set[str]) -> list[Finding]:
    zh = "消息写于已存内容之前：后来的消息说过的保持不变，只补充其余部分。"
    en = "Older than what is stored: what newer messages told stays, only the rest was added."
    return [Finding("GW-REV-004", "information", one, zh, en) for one in sorted(types)]
