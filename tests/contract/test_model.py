"""The store against a plain model in memory: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from gateway.errors import Conflict
from gateway.model.context import SYSTEM
from gateway.model.query import Query
from gateway.model.resource import loads
from gateway.model.systems import local_number
from gateway.store.base import Committed, Delete, Move, Plan, Put, src_of
from gateway.store.resources import ResourceStore, open_store

from .clinic import M1, ids, observation, of, patient, where
from .conftest import START

T = TypeVar("T")
PEOPLE, OBSERVATIONS = 4, 6
people, results = st.integers(0, PEOPLE - 1), st.integers(0, OBSERVATIONS - 1)
values = st.sampled_from(["1.0", "1.00", "2.5", "0.0000001"])
_runs = count()


@dataclass
class Result:
    """What the model knows of one Observation: its versions as (value, owner), None when deleted."""

    versions: list[tuple[str, str] | None] = field(default_factory=list)
    src: str = ""

    @property
    def now(self) -> tuple[str, str] | None:
        return self.versions[-1] if self.versions else None


@dataclass(frozen=True)
class Merge:
    """`srcs`: the people whose records moved."""

    old: str
    new: str
    srcs: tuple[str, ...]


class Machine(RuleBasedStateMachine):
    """People, their results, merges and the way back."""

    def __init__(self, store: ResourceStore, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.store, self.loop = store, loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def commit(self, *puts: Put, moves: tuple[Move, ...] = (), deletes: tuple[Delete, ...] = ()) -> Committed:
        return self.run(self.store.commit(Plan(puts=puts, moves=moves, deletes=deletes)))

    @initialize()
    def begin(self) -> None:
        run = next(_runs)
        self.names = [f"r{run}p{n}" for n in range(PEOPLE)]
        self.results = {f"r{run}o{n}": Result() for n in range(OBSERVATIONS)}
        self.survivor: dict[str, str] = {}
        self.merges: list[Merge] = []
        self.start = self.store.horizon()[0]
        self.commit(*(patient(name) for name in self.names))

    # ---- the model
    def final(self, name: str) -> str:
        while name in self.survivor:
            name = self.survivor[name]
        return name

    def key(self, number: int) -> str:
        return list(self.results)[number]

    def owned(self, name: str) -> dict[str, str]:
        """Results of a person by id, with their values."""
        return {id_: one.now[0] for id_, one in self.results.items() if one.now and one.now[1] == name}

    # ---- writes
    @rule(number=results, person=people, value=values)
    def put(self, number: int, person: int, value: str) -> None:
        """Create, update, bring back, move to another person; equal content is no new version."""
        id_, name = self.key(number), self.names[person]
        known, owner = self.results[id_], self.final(name)
        done = self.commit(observation(id_, name, value)).written[0]
        same = known.now == (value, owner) and known.src == name  # who said it is part of what is said
        if not same:
            known.versions.append((value, owner))
            known.src = name
        assert (done.version, done.changed) == (len(known.versions), not same)

    @rule(number=results, value=values, wrong=st.booleans())
    def patch(self, number: int, value: str, wrong: bool) -> None:
        """One element changed on the version that was read; on another version nothing happens."""
        id_ = self.key(number)
        known = self.results[id_]
        version = len(known.versions) if known.now else 0
        name = known.now[1] if known.now else self.final(self.names[0])
        src = known.src if known.now else name
        put = observation(id_, name, value, number=src, expect=version + wrong)
        if wrong:
            with pytest.raises(Conflict):
                self.commit(put)
            return
        done = self.commit(put).written[0]
        if known.now != (value, name):
            known.versions.append((value, name))
            known.src = src
        assert done.version == len(known.versions)

    @rule(number=results)
    def delete(self, number: int) -> None:
        id_ = self.key(number)
        known = self.results[id_]
        done = self.commit(deletes=(Delete("Observation", id_),)).written[0]
        if known.now:
            known.versions.append(None)
            assert done.changed
        assert done.version == len(known.versions)

    @rule(old=people, new=people)
    def merge(self, old: int, new: int) -> None:
        one, other = self.names[old], self.names[new]
        if one == other or one in self.survivor or other in self.survivor:
            return
        srcs = tuple(name for name in self.names if self.final(name) == one)
        link = [{"other": {"reference": f"Patient/{other}"}, "type": "replaced-by"}]
        self.commit(patient(one, active=False, link=link), moves=(_move(srcs, one, other),))
        self.survivor[one] = other
        self.merges.append(Merge(one, other, srcs))
        self._moved(srcs, one, other)

    @precondition(lambda self: self.merges)
    @rule()
    def unmerge(self) -> None:
        """The last merge is taken back."""
        last = self.merges.pop()
        self.commit(patient(last.old), moves=(_move(last.srcs, last.new, last.old),))
        del self.survivor[last.old]
        self._moved(last.srcs, last.new, last.old)

    def _moved(self, srcs: tuple[str, ...], origin: str, target: str) -> None:
        for one in self.results.values():
            if one.now and one.now[1] == origin and one.src in srcs:
                one.versions.append((one.now[0], target))

    # ---- reads
    @rule(number=results)
    def read(self, number: int) -> None:
        id_ = self.key(number)
        known = self.results[id_]
        found = self.run(self.store.read("Observation", id_, SYSTEM))
        page = self.run(self.store.search(Query("Observation", (where("_id", "token", id_),)), SYSTEM))
        assert ids(page.matches) == ([id_] if known.now else [])
        if not known.versions:
            assert found is None
            return
        assert found is not None and found.version == len(known.versions)
        assert (_said(found.body) if not found.deleted else None) == known.now

    @rule(number=results)
    def history(self, number: int) -> None:
        id_ = self.key(number)
        found = self.run(self.store.history("Observation", id_, SYSTEM, count=1000))
        said = [None if one.deleted else _said(one.body) for one in reversed(found)]
        assert said == self.results[id_].versions

    @rule(person=people)
    def search(self, person: int) -> None:
        """By patient and as the whole record; a superseded person stands for the survivor."""
        name, owner = self.names[person], self.final(self.names[person])
        page = self.run(self.store.search(Query("Observation", (of(name),), count=100), SYSTEM))
        assert {one.id: _said(one.body)[0] for one in page.matches} == self.owned(owner)
        whole = self.run(self.store.everything(name, SYSTEM))
        assert sorted(ids(whole)) == sorted([owner, *self.owned(owner)])

    @rule(person=people)
    def identify(self, person: int) -> None:
        name = self.names[person]
        asked = where("identifier", "token", f"{local_number(M1)}|A-{name}")
        page = self.run(self.store.search(Query("Patient", (asked,)), SYSTEM))
        assert ids(page.matches) == ([] if name in self.survivor else [name])
        found = self.run(self.store.find_identifier("Patient", local_number(M1), f"A-{name}"))
        assert ids(found) == [name]

    def teardown(self) -> None:
        """Whoever follows the changes ends with the same picture."""
        if not hasattr(self, "results"):
            return
        seen: dict[str, tuple[int, tuple[str, str] | None]] = {}
        after = self.start
        while (part := self.run(self.store.changes.after(after, SYSTEM, limit=50))).resources:
            for one in part.resources:
                if one.type == "Observation":
                    seen[one.id] = (one.version, None if one.deleted else _said(one.body))
            after = part.next
        assert seen == {id_: (len(one.versions), one.now) for id_, one in self.results.items() if one.versions}


def _move(srcs: tuple[str, ...], origin: str, target: str) -> Move:
    return Move(tuple(src_of(M1, name) for name in srcs), origin, target)


def _said(body: bytes) -> tuple[str, str]:
    """(value as written, subject) of an Observation."""
    whole = loads(body)
    text = body.partition(b'"valueQuantity":{"value":')[2].partition(b",")[0].decode()
    return text, str(whole["subject"]["reference"]).removeprefix("Patient/")


def _compare(url: str, examples: int, steps: int) -> None:
    loop = asyncio.new_event_loop()
    store = loop.run_until_complete(open_store(url, clock=lambda: START))
    profile = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, derandomize=examples < 20,
        suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate),
    )  # fmt: skip
    try:
        run_state_machine_as_test(lambda: Machine(store, loop), settings=profile)
    finally:
        loop.run_until_complete(store.close())
        loop.close()


def test_the_store_agrees_with_a_plain_model(url: str) -> None:
    _compare(url, examples=8, steps=50)


@pytest.mark.slow
def test_the_store_agrees_with_a_plain_model_for_ten_thousand_steps(url: str) -> None:
    _compare(url, examples=125, steps=80)
