"""Whole records (`$everything`) as the oracle sees them: what lies in a compartment, narrowed, page by page."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from gateway.model.context import SYSTEM
from gateway.store.base import Whole, WholePage
from tests.oracle import values
from tests.oracle.evaluator import Stored, World, compartments, found, parameters
from tests.oracle.trial import Trial

_LIFE = ("birthdate", "death-date", "_lastUpdated")
"""Dates that are no dates of care."""


async def disagreement(trial: Trial) -> str:
    """What is different between the two answers to a question by chance, "" when nothing is."""
    rng, world = trial.rng, trial.world
    type_ = rng.choice(["Patient", "Patient", "Encounter"])
    owner = rng.choice(trial.asker.by_type[type_])
    types = frozenset(rng.sample(trial.asker.types, rng.choice([1, 3, 6]))) if rng.random() < 0.4 else frozenset[str]()
    since = _ms(rng.choice(world.stored).at) if rng.random() < 0.3 else None
    days = sorted(rng.choice(["2025", "2026-02-03", "2026-02", "2026-02-20", "2026-03-01"]) for _ in range(2))
    care = (_ms(values.moments(days[0])[0]), _ms(values.moments(days[1])[1])) if rng.random() < 0.4 else None
    asked = Whole(type_, owner.id, rng.choice([1, 2, 7, 1000]), types, since, care, along=True)
    pages = await _pages(trial, asked, stirred=rng.random() < 0.2)
    got = [world.by_name[f"{one.type}/{one.id}"] for page in pages for one in page.resources]
    wanted = _record(world, owner, asked)
    if {one.name for one in got} != {one.name for one in wanted} or len(got) != len(wanted):
        return f"{asked}: {sorted(one.name for one in got)}, wanted {sorted(one.name for one in wanted)}"
    if [one.tx for one in got if one is not owner] != [one.tx for one in wanted if one is not owner]:
        return f"{asked}: order {[one.name for one in got]}"
    if owner in got and got[0] is not owner:
        return f"{asked}: begins with {got[0].name}"
    return next((fault for page in pages if (fault := _along(world, page, asked))), "")


async def _pages(trial: Trial, asked: Whole, *, stirred: bool) -> list[WholePage]:
    pages = [await trial.store.whole(asked, SYSTEM)]
    while pages[-1].next:
        if stirred and len(pages) < 3:
            await trial.stir()
        last = pages[-1]
        onward = replace(asked, as_of=last.as_of, at=_ms(last.at), below=last.next)
        pages.append(await trial.store.whole(onward, SYSTEM))
    assert all(len(page.resources) == asked.count for page in pages[:-1])
    return pages


def _record(world: World, owner: Stored, asked: Whole) -> list[Stored]:
    """The resource itself, then all others of its compartment, newest first."""
    inside = [one for one in world.stored if world.inside(one, owner.name) and _asked_for(one, asked)]
    others = [one for one in inside if one is not owner and _in_care(one, asked)]
    return [one for one in inside if one is owner] + sorted(others, key=lambda one: -one.tx)


def _asked_for(one: Stored, asked: Whole) -> bool:
    return (not asked.types or one.type in asked.types) and (asked.since is None or _ms(one.at) >= asked.since)


def _in_care(one: Stored, asked: Whole) -> bool:
    dated = [p for p in parameters(one.type).values() if p.kind == "date" and p.code not in _LIFE]
    spans = [span for p in dated for value in found(one, p) for span in values.spans(value)]
    if asked.care is None or not spans:
        return True
    return any(_ms(low) <= asked.care[1] and _ms(high) >= asked.care[0] for low, high in spans)


def _along(world: World, page: WholePage, asked: Whole) -> str:
    """What a page refers to and that lies in nobody's record."""
    names = {ref for one in page.resources for ref in world.refs(world.by_name[f"{one.type}/{one.id}"], "*")}
    known = [world.by_name[name] for name in names if name in world.by_name]
    free = [one for one in known if one.type != "Patient" and one.type not in compartments()["Patient"]]
    wanted = {one.name for one in free if _asked_for(one, asked)}
    got = {f"{one.type}/{one.id}" for one in page.along}
    return "" if got == wanted else f"{asked}: along {sorted(got)}, wanted {sorted(wanted)}"


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
