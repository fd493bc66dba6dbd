"""Searches shared with a process that reads beside the gateway: the same answers, the same audit, nothing old."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.errors import TooCostly
from gateway.model.times import system_clock
from gateway.outbound import readers as module
from gateway.outbound.reading import Told
from tests.unit.fhir_site import Site, a_patient, a_site

_PEOPLE = 24


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path, system_clock, reading=1) as made:
        for number in range(_PEOPLE):
            await made.keep(a_patient(f"p{number}"), _result(number, "1"), member="m1" if number % 2 else "m2")
        yield made


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[Told | None]:
    """What the process answered."""
    told: list[Told | None] = []
    ask = module._Reader.ask

    def keep(done: asyncio.Future[bytes]) -> None:
        if not done.cancelled():
            told.append(module.told_in(done.result()) if done.result() else None)

    def noted(self: module._Reader, asked: Any, answer: asyncio.Future[bytes]) -> None:
        answer.add_done_callback(keep)
        ask(self, asked, answer)

    monkeypatch.setattr(module._Reader, "ask", noted)
    return told


def _result(number: int, value: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "code": {"text": value * 6_000},
        "subject": {"reference": f"Patient/p{number}"},
    }


async def together(site: Site, paths: list[str], role: str = "platform", **headers: str) -> list[httpx.Response]:
    """All asked in one turn of the loop."""
    return list(await asyncio.gather(*(site.get(path, role, **headers) for path in paths)))


async def begun(site: Site) -> module._Reader:
    """Asked by many, the process is started; it then answers."""
    readers: module.Readers = site.parts.search.__self__  # type: ignore[union-attr]
    await together(site, [f"Observation?patient=p{n}&_count=1" for n in range(_PEOPLE)])
    (reader,) = readers._readers
    async with asyncio.timeout(60):
        while not reader._child.running:
            await asyncio.sleep(0.01)
    return reader


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["resource"]["id"] for one in answer.json().get("entry", [])]


async def test_who_comes_alone_starts_no_process(site: Site, apart: list[Told | None]) -> None:
    readers: module.Readers = site.parts.search.__self__  # type: ignore[union-attr]
    for number in range(8):
        assert ids(await site.get(f"Observation?patient=p{number}")) == [f"o{number}"]
    assert not readers._readers[0]._child.running and readers._readers[0]._beginning is None and not apart


async def test_many_together_are_shared_and_each_is_on_record(site: Site, apart: list[Told | None]) -> None:
    await begun(site)
    answers = await together(site, [f"Observation?patient=p{number}" for number in range(_PEOPLE)])
    assert [ids(one) for one in answers] == [[f"o{number}"] for number in range(_PEOPLE)]
    assert module._AHEAD <= len(apart) < _PEOPLE and None not in apart
    rows = await site.audits(subtype="search-type", limit=_PEOPLE)
    assert {row.patients for row in rows} == {(f"p{number}",) for number in range(_PEOPLE)}
    assert {row.entities[0] if row.entities else row.query for row in rows} == {
        f"Observation?patient=p{number}" for number in range(_PEOPLE)
    }


async def test_each_sees_what_is_theirs_to_see(site: Site, apart: list[Told | None]) -> None:
    await begun(site)
    for number in range(0, _PEOPLE, 2):
        await site.keep(_result(number, "2") | {"meta": {"security": [{"code": "R"}]}})
    answers = await together(site, [f"Observation?patient=p{n}&_count=9" for n in range(_PEOPLE)], "doctor")
    assert [ids(one) for one in answers] == [[f"o{n}"] if n % 2 else [] for n in range(_PEOPLE)]
    assert apart


async def test_what_was_committed_is_found_at_once(site: Site, apart: list[Told | None]) -> None:
    await begun(site)
    for turn in range(2, 9):
        for number in range(_PEOPLE):
            await site.keep(_result(number, str(turn)))
        answers = await together(site, [f"Observation?patient=p{n}&_count={turn}" for n in range(_PEOPLE)])
        said = {one.json()["entry"][0]["resource"]["code"]["text"][0] for one in answers}
        assert said == {str(turn)}
    assert len(apart) >= 7 * module._AHEAD


async def test_what_was_asked_lately_is_answered_here(site: Site, apart: list[Told | None]) -> None:
    await begun(site)
    await together(site, ["Observation?patient=p1"] * _PEOPLE)
    await together(site, ["Observation?patient=p1"] * _PEOPLE)
    assert not apart


async def test_a_process_killed_at_work_costs_nobody_an_answer(site: Site) -> None:
    reader = await begun(site)
    assert reader._child._process is not None
    killed = reader._child._process.pid
    reader._child._process.kill()
    answers = await together(site, [f"Observation?patient=p{number}" for number in range(_PEOPLE)])
    assert [ids(one) for one in answers] == [[f"o{number}"] for number in range(_PEOPLE)]
    await begun_again(site, reader, killed)


async def begun_again(site: Site, reader: module._Reader, killed: int) -> None:
    async with asyncio.timeout(60):
        for turn in range(1_000):
            await together(site, [f"Observation?patient=p{n}&_count=1{turn}" for n in range(_PEOPLE)])
            if reader._child.running and reader._child._process is not None and reader._child._process.pid != killed:
                return
            await asyncio.sleep(0.02)


async def test_who_goes_away_while_waiting_takes_no_place_from_others(site: Site, apart: list[Told | None]) -> None:
    reader = await begun(site)
    for turn in range(2 * module._AHEAD):
        asked = [asyncio.create_task(site.get(f"Observation?patient=p{n}&_count=2{turn}")) for n in range(_PEOPLE)]
        for _ in range(3 + turn):
            await asyncio.sleep(0)
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    async with asyncio.timeout(30):
        while reader._asked:
            await asyncio.sleep(0.01)
    assert reader.room == module._AHEAD
    apart.clear()
    answers = await together(site, [f"Observation?patient=p{n}&_count=30" for n in range(_PEOPLE)])
    assert [ids(one) for one in answers] == [[f"o{n}"] for n in range(_PEOPLE)] and len(apart) >= module._AHEAD


async def test_what_the_process_refuses_is_refused_here_in_the_same_words(site: Site) -> None:
    reader = await begun(site)
    wrong = await together(site, [f"Observation?patient=p{n}&date=2026-13-0{n % 9}" for n in range(_PEOPLE)])
    alone = await site.get("Observation?patient=p0&date=2026-13-00")
    assert {one.status_code for one in wrong} == {400}
    assert wrong[0].json()["issue"] == alone.json()["issue"]
    assert reader._child.running


async def test_a_search_too_costly_is_not_done_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await begun(site)
    refusal = module.encode(Told(0, b"", (), "", None, ("Observation", "more than 5 s", "超过 5 秒")))
    monkeypatch.setattr(module._Reader, "ask", lambda self, asked, told: told.set_result(refusal))
    answers = await together(site, [f"Observation?patient=p{n}&_count=3" for n in range(_PEOPLE)])
    refused = [one for one in answers if one.status_code != 200]
    assert len(refused) >= module._AHEAD
    assert all(one.json()["issue"][0]["code"] == TooCostly.issue and "超过 5 秒" in one.text for one in refused)


async def test_paging_links_lead_on_whoever_made_them(site: Site, apart: list[Told | None]) -> None:
    await begun(site)
    asked = [f"Patient?birthdate=1958-03-12&_count={5 + number}" for number in range(_PEOPLE)]
    firsts = await together(site, asked)
    seconds = await together(site, [_next(one) for one in firsts[: _PEOPLE - 6]])
    for number, (first, second) in enumerate(zip(firsts, seconds, strict=False)):
        assert len(ids(first)) == 5 + number
        assert len({*ids(first), *ids(second)}) == min(_PEOPLE, 2 * (5 + number))
    assert len(apart) >= 2 * module._AHEAD


def _next(answer: httpx.Response) -> str:
    links = {one["relation"]: one["url"] for one in answer.json()["link"]}
    return str(links.get("next", "")).rpartition("/fhir/")[2]


async def test_the_process_compresses_for_who_takes_it(site: Site, apart: list[Told | None]) -> None:
    await begun(site)
    paths = [f"Observation?patient=p{n}&_include=Observation:subject&_count=20" for n in range(_PEOPLE)]
    answers = await together(site, paths, **{"Accept-Encoding": "gzip"})
    assert [ids(one)[0] for one in answers] == [f"o{n}" for n in range(_PEOPLE)]
    packed = [one for one in apart if one is not None and ("content-encoding", "gzip") in one.headers]
    assert len(packed) == len(apart) > 0
    assert b"searchset" in gzip.decompress(packed[0].body)
