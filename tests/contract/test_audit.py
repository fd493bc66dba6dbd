"""Effects commit with their audit row; disclosures are durable before they happen; one chain (design-store §10)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gateway.errors import Conflict
from gateway.store.audit_log import Head
from gateway.store.base import AuditQuery, Plan
from tests.contract.clinic import audit, observation
from tests.contract.conftest import Site


async def test_an_effect_is_audited_or_did_not_happen(site: Site) -> None:
    row = audit(site.now, action="C", subtype="create")
    await site.store.commit(Plan(puts=(observation("o1", "p1"),), audits=(row,)))
    with pytest.raises(Conflict):
        await site.store.commit(Plan(puts=(observation("o1", "p1", "9", expect=0),), audits=(row,)))
    assert [found for _, found in await site.store.audits(AuditQuery())] == [row]


async def test_effects_and_disclosures_are_merged_newest_first(site: Site) -> None:
    for n in range(6):
        site.pass_time(seconds=1)
        row = audit(site.now, detail=str(n))
        if n % 2:
            await site.store.disclose(row)
        else:
            await site.store.commit(Plan(audits=(row,)))
    found = await site.store.audits(AuditQuery(limit=4))
    assert [row.detail for _, row in found] == ["5", "4", "3", "2"]
    rest = await site.store.audits(AuditQuery(before=found[-1][0]))
    assert [row.detail for _, row in rest] == ["1", "0"]
    assert (await site.store.audits(AuditQuery(id=found[1][0])))[0][1].detail == "4"


async def test_audit_rows_are_found_by_what_they_say(site: Site) -> None:
    store = site.store
    await store.disclose(audit(site.now, user="d2", patients=("p1", "p2"), detail="both"))
    await store.disclose(audit(site.now, action="E", subtype="search", entities=("Observation/o1/_history/2",)))
    await store.disclose(audit(site.now + timedelta(hours=1), outcome="4", patients=(), kind="page", detail="late"))
    counts = {
        AuditQuery(user="d2"): 1, AuditQuery(user="d1"): 2, AuditQuery(patient="p1"): 2, AuditQuery(patient="p2"): 1,
        AuditQuery(entity="Observation/o1"): 3, AuditQuery(entity="Observation/o1/_history/2"): 1,
        AuditQuery(action="E"): 1, AuditQuery(subtype="read", kind="rest"): 1, AuditQuery(outcome="4"): 1,
        AuditQuery(since=site.now + timedelta(minutes=1)): 1, AuditQuery(until=site.now + timedelta(minutes=1)): 2,
        AuditQuery(user="d1", patient="p2"): 0, AuditQuery(id="d99"): 0, AuditQuery(id="nonsense"): 0,
    }  # fmt: skip
    for query, expected in counts.items():
        assert len(await store.audits(query)) == expected, query


async def test_many_disclosures_at_once_are_all_kept_in_order(site: Site) -> None:
    await asyncio.gather(*(site.store.disclose(audit(site.now, detail=str(n))) for n in range(700)))
    found = await site.store.audits(AuditQuery(limit=1000))
    assert [int(row.detail) for _, row in found] == list(range(699, -1, -1))
    assert (await site.store.audit_log.verify()).checked == 700


async def test_pages_of_one_doctor_and_one_patient_hold_exactly_their_rows_newest_first(site: Site) -> None:
    said = [(f"d{n % 3}", f"p{n % 7}") for n in range(300)]
    for n, (user, patient) in enumerate(said):
        await site.store.disclose(audit(site.now, user=user, patients=(patient,), detail=str(n)))
        if n % 100 == 90:
            await site.store.audit_log.seal()
    found, before = [], ""
    while page := await site.store.audits(AuditQuery(user="d1", patient="p2", limit=4, before=before)):
        found += [int(row.detail) for _, row in page]
        before = page[-1][0]
    assert found == [n for n in range(299, -1, -1) if said[n] == ("d1", "p2")]


async def test_the_chain_goes_on_after_a_restart(site: Site) -> None:
    await site.store.disclose(audit(site.now))
    store = await site.again()
    head = await store.audit_log.head()
    assert head.n == 1
    await store.disclose(audit(site.now))
    await store.commit(Plan(audits=(audit(site.now),)))
    await store.audit_log.seal()
    log, now = store.audit_log, await store.audit_log.head()
    assert now.n == 3 and (await log.verify(head)).broken == (await log.verify(now)).broken == 0
    assert (await log.verify(Head(5, now.mac))).broken == 4, "rows were cut off behind the last"
    assert (await log.verify(Head(2, now.mac))).broken == 2, "written anew"


async def test_a_disclosure_does_not_wait_for_the_store_s_writer(site: Site) -> None:
    puts = tuple(observation(f"o{n}", f"p{n % 100}") for n in range(3000))
    writing = asyncio.create_task(site.store.commit(Plan(puts=puts)))
    done = 0
    while not writing.done():
        await site.store.disclose(audit(site.now))
        done += 1
    await writing
    assert done > 1
