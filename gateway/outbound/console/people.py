"""The steward's desk: open identity reviews side by side, a decision each, and every act with its way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from starlette.responses import Response

from ...errors import BadParameter, Forbidden
from ...identity import reviews
from ...identity.match import Code
from ...identity.steward import Word
from ...model import systems
from ...model.query import Filter, Query
from ...model.resource import Json, loads, reference_id
from ...model.rest import Seen
from ...security.audit import audit_row
from ...store.base import AuditRow
from ...store.bodies import replaced_by
from ..pages.guard import redirect
from .parts import Desk
from .views_people import Asked, act_view, answer_view, review_view

SHOWN = 50
NOTE_LENGTH = 500


async def people(desk: Desk) -> Response:
    """`/console/people`; the audit row names everybody shown."""
    _for_stewards(desk)
    asked, more = await _tasks(desk, ("requested",), tuple(Code))
    done, _ = await _tasks(desk, (reviews.STANDS,), reviews.DECIDED)
    by_card, _ = await _tasks(desk, (reviews.STANDS,), reviews.BY_CARD)
    answered = await _answered(desk, done)
    homes = await _homes(desk, asked)
    named = dict.fromkeys(
        [*homes.values(), *(id_ for task in (*asked, *done, *by_card, *answered) for id_ in _named(task))]
    )
    persons = await _patients(desk, tuple(named))
    await desk.visit.disclose("people", patients=tuple(persons))
    directory, now = desk.parts.mappings.directory, desk.visit.parts.clock()
    return desk.page(
        "people.html",
        tab="people",
        reviews=[review_view(task, await _asked(desk, task, persons, homes), directory, now) for task in asked],
        more=more,
        acts=[act_view(task, persons, directory, now) for task in done],
        answers=[answer_view(task, persons, directory, now) for task in answered],
        by_card=[act_view(task, persons, directory, now) for task in by_card],
        said=desk.visit.request.query_params.get("said", ""),
    )


async def decide(desk: Desk) -> Response:
    """POST `/console/people/{task}`: verdict=same (with candidate) or different, and a note."""
    _for_stewards(desk)
    form, task = desk.visit.form, desk.visit.request.path_params["task"]
    verdict, note = form.get("verdict", ""), form.get("note", "").strip()[:NOTE_LENGTH]
    word = Word(desk.visit.who.display or desk.visit.who.user, desk.visit.parts.clock(), note)
    if verdict == "different":
        await desk.parts.steward.different(task, word, _audit(desk, "unlink", task))
    elif verdict.startswith("same:"):
        await desk.parts.steward.same(task, verdict.removeprefix("same:"), word, _audit(desk, "merge", task))
    else:
        raise BadParameter("verdict", "same:<Patient id> or different", detail_zh="请选择一项结论。")
    return redirect("/console/people?said=" + ("different" if verdict == "different" else "same"))


async def undo(desk: Desk) -> Response:
    """POST `/console/people/{task}/undo`."""
    _for_stewards(desk)
    task = desk.visit.request.path_params["task"]
    await desk.parts.steward.undo(task, _audit(desk, "unmerge", task))
    return redirect("/console/people?said=undone")


def _for_stewards(desk: Desk) -> None:
    if not desk.admin:
        role = desk.visit.who.role.value
        raise Forbidden("/console/people", f"role {role}", detail_zh="主索引复核由管理员进行。")


def _audit(desk: Desk, subtype: str, task: str) -> AuditRow:
    seen = Seen("U", subtype, entities=(f"Task/{task[:64]}",))
    return audit_row(desk.visit.parts.clock(), desk.visit.who, seen, kind="merge")


async def _tasks(desk: Desk, status: tuple[str, ...], codes: tuple[str, ...]) -> tuple[list[Json], bool]:
    """(the newest Tasks of these codes, whether there are more)."""
    filters = (
        Filter("status", "token", status),
        Filter("code", "token", tuple(f"{systems.REVIEW}|{code}" for code in codes)),
    )
    page = await desk.visit.parts.store.search(Query("Task", filters, count=SHOWN), desk.visit.who)
    return [loads(row.body) for row in page.matches], bool(page.next)


async def _answered(desk: Desk, done: list[Json]) -> list[Json]:
    """The newest reviews somebody answered without moving a record; what moved one is among the acts."""
    closed, _ = await _tasks(desk, ("completed", "rejected"), tuple(Code))
    moved = {reviews.based_on(act) for act in done}
    return [task for task in closed if reviews.by(task) and task["id"] not in moved]


def _named(task: Json) -> list[str]:
    about = [reference_id(task.get("for"), "Patient"), reference_id(task.get("focus"), "Patient")]
    return [id_ for id_ in (*about, *reviews.candidates_of(task)) if id_]


async def _patients(desk: Desk, ids: tuple[str, ...]) -> dict[str, Json]:
    """These Patients, and those that read in place of them by now."""
    out, wanted = dict[str, Json](), list(ids)
    while wanted:
        found = await desk.visit.parts.store.read_many([("Patient", id_) for id_ in wanted], desk.visit.who)
        made = {row.id: loads(row.body) for row in found}
        out |= made
        wanted = [id_ for one in made.values() if (id_ := replaced_by(one)) and id_ not in out]
    return out


def _now(id_: str, persons: Mapping[str, Json]) -> Json:
    """Who stands for a Patient now; {} for one the caller may not know."""
    found = persons.get(id_, {})
    while newer := persons.get(replaced_by(found)):
        found = newer
    return found


async def _homes(desk: Desk, asked: list[Json]) -> dict[tuple[str, str], str]:
    """Where the records the reviews are about are filed now: a Task says where they were."""
    keys = [reviews.record_of(task) for task in asked]
    rows = await desk.visit.parts.store.records(keys) if keys else []
    return {key: row.patient for key, row in zip(keys, rows, strict=True) if row is not None}


async def _asked(desk: Desk, task: Json, persons: Mapping[str, Json], homes: Mapping[tuple[str, str], str]) -> Asked:
    """The review's persons as they are now; of one that the record is joined to already its records."""
    candidates = [(id_, found) for id_ in reviews.candidates_of(task) if (found := _now(id_, persons))]
    asked = Asked(_now(homes.get(reviews.record_of(task), ""), persons), tuple(candidates))
    if not asked.linked:
        return asked
    rows = await desk.visit.parts.store.records_of(asked.own["id"])
    said = ((row.member, row.local_number, loads(row.content)) for row in rows)
    return replace(asked, records=tuple(((member, number), content) for member, number, content in said))
