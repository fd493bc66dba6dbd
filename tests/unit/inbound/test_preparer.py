"""Large Bundles are prepared in a process of their own: with the same outcome, and whatever becomes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.errors import BadParameter, Invalid, NotPrepared, Unparseable
from gateway.inbound.fhir_draft import Entry, Ready, Wanted
from gateway.inbound.preparer import APART_BYTES, FEW, Preparer, _Process
from gateway.model.child import Child
from gateway.model.resource import Json, dumps
from gateway.store.base import PackedPut, Put
from gateway.store.bodies import RawPut, pack_put, shipped_codec
from tests.unit.fhir_site import Site, a_carded_patient, a_site, an_observation, without_id
from tests.unit.inbound.test_fhir_write import a_bundle, an_entry


def a_large_bundle(kind: str = "transaction", *, count: int = 300, bad: tuple[int, ...] = ()) -> Json:
    """A Patient by temporary address, and Observations that point there; some of them without a status."""
    entries = [an_entry("POST", "Patient", without_id(a_carded_patient()), fullUrl="urn:uuid:p")]
    for n in range(1, count):
        body = an_observation("x", "x", str(n), subject={"reference": "urn:uuid:p"}, note=[{"text": "血" * 60}])
        if n in bad:
            del body["status"]
        entries.append(an_entry("POST", "Observation", body))
    return a_bundle(kind, *entries)


async def prepared(preparer: Preparer, body: bytes) -> tuple[str, list[Entry], list[Ready | None]]:
    async with preparer.work(body) as work:
        kind, entries = await work.entries()
        wanted = [Wanted(one.start, one.end, "m1", one.type, f"o{n}") for n, one in enumerate(entries)]
        return kind, entries, await work.ready(wanted, {"urn:uuid:p": "Patient/p1"})


def in_order(one: Ready | None) -> Ready | None:
    """With its postings and texts sorted: they are sets."""
    if one is None:
        return None
    put = replace(one.put, words=tuple(sorted(one.put.words)), texts=tuple(sorted(one.put.texts)))
    return replace(one, put=put)


async def test_both_ways_give_the_same() -> None:
    body = dumps(a_large_bundle(bad=(7,)))
    assert len(body) > APART_BYTES
    here, apart = Preparer(0), Preparer(1)
    try:
        expected = await prepared(here, body)
        other = await prepared(apart, body)
        assert other[:2] == expected[:2]
        assert list(map(in_order, other[2])) == list(map(in_order, expected[2]))
    finally:
        await apart.close()
    kind, entries, made = expected
    assert (kind, len(entries), len(made)) == ("transaction", 300, 300)
    assert [n for n, one in enumerate(made) if one is None] == [7]
    assert made[1] is not None and made[1].patient == "p1"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"resourceType":"Bundle","type":"transaction","entry":[{"resource":' + b" " * APART_BYTES, Unparseable),
        (b'{"resourceType":"Bundle","type":"history","entry":[' + b" " * APART_BYTES + b"]}", BadParameter),
    ],
)
async def test_a_body_that_is_no_bundle_is_refused_alike(body: bytes, fault: type[Exception]) -> None:
    here, apart = Preparer(0), Preparer(1)
    said = []
    try:
        for one in (here, apart):
            with pytest.raises(fault) as caught:
                await prepared(one, body)
            said.append(str(caught.value))
    finally:
        await apart.close()
    assert said[0] == said[1]


def system_process(process: _Process) -> subprocess.Popen[bytes]:
    """What runs now."""
    assert process._child._process is not None
    return process._child._process


async def test_a_process_killed_at_work_is_replaced() -> None:
    body = dumps(a_large_bundle(count=2000))
    preparer = Preparer(1)
    try:
        await prepared(preparer, dumps(a_large_bundle()))
        (process,) = preparer._apart
        first = system_process(process).pid
        work = asyncio.create_task(prepared(preparer, body))
        while process.jobs == 0:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        os.kill(first, signal.SIGKILL)
        _, _, made = await work
        assert len(made) == 2000 and None not in made
        assert system_process(process).pid != first
    finally:
        await preparer.close()


def every_new_process_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Child._start

    async def started_and_killed(self: Child) -> None:
        await start(self)
        assert self._process is not None
        self._process.kill()

    monkeypatch.setattr(Child, "_start", started_and_killed)


async def test_work_that_costs_two_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    every_new_process_dies(monkeypatch)
    preparer = Preparer(1)
    try:
        with pytest.raises(NotPrepared):
            await prepared(preparer, dumps(a_large_bundle(count=2000)))
    finally:
        await preparer.close()


async def test_without_a_process_to_be_had_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    preparer = Preparer(1)
    try:
        _, entries, made = await prepared(preparer, dumps(a_large_bundle()))
        assert len(entries) == 300 and None not in made
    finally:
        await preparer.close()


async def test_single_writes_of_one_turn_are_prepared_eight_at_a_time() -> None:
    preparer = Preparer(1)
    body = dumps(without_id(an_observation("x")))
    bad = body.replace(b'"status":"final",', b"")
    try:
        await prepared(preparer, dumps(a_large_bundle()))  # it runs
        (process,) = preparer._apart
        before = next(process._numbers)
        found = await asyncio.gather(
            *(preparer.one("m1", "Observation", f"o{n}", bad if n == 5 else body) for n in range(40)),
            return_exceptions=True,
        )
        assert isinstance(found.pop(5), Invalid)
        assert [one.put.id for one in found if isinstance(one, Ready)] == [f"o{n}" for n in range(40) if n != 5]
        assert next(process._numbers) == before + 1 + 40 // 8  # jobs
    finally:
        await preparer.close()


def what_a_message_makes(count: int, *, bad: tuple[int, ...] = ()) -> list[RawPut]:
    bodies = [an_observation(f"o{n}", "p1", str(n)) for n in range(count)]
    for n in bad:
        del bodies[n]["status"]
    meta: Json = {"source": "urn:alliance-gateway:source:lis#m1"}
    return [
        RawPut("Observation", f"o{n}", dumps(body), patient="p1", src=7, member="m1", meta=meta, expect=n % 2 or None)
        for n, body in enumerate(bodies)
    ]


async def test_what_a_message_makes_is_the_same_either_way_and_a_fault_is_met_here() -> None:
    here, apart = Preparer(0), Preparer(1)
    asked = what_a_message_makes(90)
    try:
        assert [type(one) for one in await apart.puts(asked)] == [Put] * 90
        assert not apart._apart[0].running and not apart._tasks
        first, *_ = await asyncio.gather(*[apart.puts(asked) for _ in range(FEW)])  # it only starts
        while not apart._apart[0].running:
            await asyncio.sleep(0.01)
        second = await apart.puts(asked)
        expected = [pack_put(one, shipped_codec()) for one in await here.puts(asked) if isinstance(one, Put)]
        assert [type(one) for one in first] == [Put] * 90 and [type(one) for one in second] == [PackedPut] * 90
        assert [in_order(Ready("", one)) for one in second if isinstance(one, PackedPut)] == [
            in_order(Ready("", one)) for one in expected
        ]
        with pytest.raises(Invalid) as caught:
            await apart.puts(what_a_message_makes(40, bad=(7,)))
        assert "status" in caught.value.place
        assert apart._apart[0].jobs == 0
    finally:
        await apart.close()


async def test_a_message_that_costs_two_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    preparer = Preparer(1)
    (process,) = preparer._apart
    await process.begin()
    every_new_process_dies(monkeypatch)
    system_process(process).kill()
    try:
        with pytest.raises(NotPrepared):
            await preparer.puts(what_a_message_makes(3_000))
    finally:
        await preparer.close()


async def test_the_process_ends_with_its_gateway() -> None:
    preparer = Preparer(1)
    await prepared(preparer, dumps(a_large_bundle()))
    child = system_process(preparer._apart[0])
    assert child.poll() is None
    await preparer.close()
    assert child.returncode is not None


async def test_a_large_transaction_over_http(tmp_path: Path) -> None:
    async with a_site(tmp_path, preparing=1) as site:
        refused = await site.post("", a_large_bundle(bad=(7, 200)))
        assert refused.status_code == 422
        assert refused.json()["issue"][0]["expression"][0].startswith("Bundle.entry[7]")
        patient, observation = await _places(site, a_large_bundle(), 0, 250)
        found = (await site.get(observation)).json()
        assert found["subject"]["reference"] == patient
        assert found["valueQuantity"]["value"] == 250
        page = (await site.get(f"Observation?patient={patient}&_summary=count")).json()
        assert page["total"] == 299


async def test_what_points_to_a_person_who_turns_out_to_be_known_points_to_that_person(tmp_path: Path) -> None:
    async with a_site(tmp_path, preparing=1) as site:
        first, _ = await _places(site, a_large_bundle(), 0, 1)
        again, observation = await _places(site, a_large_bundle(), 0, 299)
        assert again == first
        assert (await site.get(observation)).json()["subject"]["reference"] == first


async def _places(site: Site, bundle: Json, *entries: int) -> list[str]:
    answer = await site.post("", bundle)
    assert answer.status_code == 200, answer.text
    return [answer.json()["entry"][n]["response"]["location"].split("/_history")[0] for n in entries]


async def test_a_large_batch_names_each_bad_entry(tmp_path: Path) -> None:
    async with a_site(tmp_path, preparing=1) as site:
        bundle = a_large_bundle("batch", count=130, bad=(7,))
        for entry in bundle["entry"][1:]:
            del entry["resource"]["subject"]
        answer = await site.post("", bundle)
        assert answer.status_code == 200
        assert [n for n, one in enumerate(answer.json()["entry"]) if one["response"]["status"] != "201"] == [7]
