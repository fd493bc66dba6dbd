"""Searches by person and by population, their order, pages, totals and includes (design-store §2, §5, §11)."""

from __future__ import annotations

import asyncio

import pytest

import gateway.store.search as search_module
from gateway.errors import BadParameter, ExpiredPage, TooCostly, UnknownParameter
from gateway.model.context import SYSTEM
from gateway.model.query import Filter, Include, Query
from gateway.model.resource import dumps
from gateway.store.base import Delete, Plan
from gateway.store.bodies import prepare
from gateway.store.judge import Judge
from gateway.store.resources import ResourceStore
from tests.contract.clinic import ids, observation, of, organization, patient, where
from tests.contract.conftest import Site


def day(n: int) -> str:
    return f"2026-02-{n:02d}T08:00:00+08:00"


async def fill(store: ResourceStore, people: int = 3, each: int = 8) -> None:
    """Results o<person>-<n> on day n, each person in commits of their own, codes alternating K and Na."""
    for n in range(each):
        puts = [
            observation(f"o{p}-{n}", f"p{p}", f"{n}.5", code=("2823-3", "2951-2")[n % 2], at=day(n + 1))
            for p in range(people)
        ]
        await store.commit(Plan(puts=tuple(puts)))


async def every_page(store: ResourceStore, query: Query) -> list[str]:
    """Ids of all pages, one after the other."""
    out: list[str] = []
    cursor = ""
    while True:
        page = await store.search(_at(query, cursor), SYSTEM)
        assert len(page.matches) <= query.count
        out += ids(page.matches)
        if not page.next:
            return out
        cursor = page.next


def _at(query: Query, cursor: str) -> Query:
    return Query(query.type, query.filters, query.sort, query.count, query.total, query.includes, cursor, query.retired)


@pytest.fixture(params=["gathered", "walked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways through a population must give the same answers."""
    if request.param == "walked":
        monkeypatch.setattr(search_module, "GATHER", 2)
    return str(request.param)


async def test_a_persons_rows_come_newest_first(store: ResourceStore) -> None:
    await fill(store)
    page = await store.search(Query("Observation", (of("p1"),), count=3), SYSTEM)
    assert ids(page.matches) == ["o1-7", "o1-6", "o1-5"] and page.next
    assert await every_page(store, Query("Observation", (of("p1"),), count=3)) == [f"o1-{n}" for n in range(7, -1, -1)]


async def test_a_persons_rows_are_narrowed_by_code_date_and_value(store: ResourceStore) -> None:
    await fill(store)
    filters = (of("p1"), where("code", "token", "http://loinc.org|2823-3"), where("date", "date", "ge2026-02-03"))
    page = await store.search(Query("Observation", filters, total="accurate"), SYSTEM)
    assert ids(page.matches) == ["o1-6", "o1-4", "o1-2"] and page.total == 3 and page.next == ""
    big = where("value-quantity", "quantity", "gt5")
    assert ids((await store.search(Query("Observation", (of("p1"), big)), SYSTEM)).matches) == ["o1-7", "o1-6", "o1-5"]


async def test_a_persons_rows_can_be_sorted_by_a_value(store: ResourceStore) -> None:
    await fill(store)
    query = Query("Observation", (of("p1"),), sort=(("date", False),), count=3)
    assert await every_page(store, query) == [f"o1-{n}" for n in range(8)]
    query = Query("Observation", (of("p1"),), sort=(("code", False), ("date", True)), count=3)
    assert await every_page(store, query) == [f"o1-{n}" for n in (6, 4, 2, 0, 7, 5, 3, 1)]


async def test_what_was_told_in_one_instant_is_sorted_by_the_next_key(site: Site) -> None:
    for n, date in enumerate((day(2), day(3), day(1))):
        await site.store.commit(Plan(puts=(observation(f"o{n}", "p1", "1", at=date),)))
    site.pass_time(seconds=5)
    await site.store.commit(Plan(puts=(observation("later", "p1", "1", at=day(2)),)))
    query = Query("Observation", sort=(("_lastUpdated", False), ("date", True)), count=2)
    assert await every_page(site.store, query) == ["o1", "o0", "o2", "later"]


async def test_a_population_is_found_by_code_newest_first(store: ResourceStore, way: str) -> None:
    await fill(store)
    query = Query("Observation", (where("code", "token", "2823-3"),), count=4)
    found = await every_page(store, query)
    assert sorted(found) == sorted(f"o{p}-{n}" for p in range(3) for n in (0, 2, 4, 6))
    assert [one.split("-")[1] for one in found] == sorted((one.split("-")[1] for one in found), reverse=True)


async def test_alternatives_and_negation(store: ResourceStore, way: str) -> None:
    await fill(store, people=2, each=4)
    either = Query("Observation", (where("code", "token", "2823-3", "2951-2"),), count=50)
    assert len(await every_page(store, either)) == 8
    no = Query("Observation", (where("code", "token", "2823-3", modifier="not"),), count=3)
    assert sorted(await every_page(store, no)) == ["o0-1", "o0-3", "o1-1", "o1-3"]
    nothing = Query("Observation", (where("code", "token", "2823-3"), where("status", "token", "amended")))
    assert await every_page(store, nothing) == []


@pytest.mark.parametrize("descending", [False, True])
async def test_a_population_in_order_of_date(store: ResourceStore, way: str, descending: bool) -> None:
    await fill(store)
    await store.commit(Plan(puts=(observation("late", "p9", at="2026-03-01"),)))
    undated = observation("undated", "p9")
    bare = undated.body.replace(b'"effectiveDateTime":"2026-03-19T08:00:00+08:00",', b"")
    keys = type(undated.keys)(undated.keys.tokens, undated.keys.refs)
    await store.commit(Plan(puts=(type(undated)("Observation", "undated", bare, keys, patient="p9"),)))
    found = await every_page(store, Query("Observation", sort=(("date", descending),), count=5))
    dated = [one for one in found if one != "undated"]
    days = [99 if one == "late" else int(one.split("-")[1]) for one in dated]
    assert len(found) == 26 and days == sorted(days, reverse=descending) and found[-1] == "undated"


async def test_a_population_between_dates(store: ResourceStore, way: str) -> None:
    await fill(store)
    between = (where("date", "date", "ge2026-02-03"), where("date", "date", "lt2026-02-05"))
    found = await every_page(store, Query("Observation", between, count=4))
    assert sorted(found) == sorted(f"o{p}-{n}" for p in range(3) for n in (2, 3))
    ordered = await every_page(store, Query("Observation", between, sort=(("date", False),), count=4))
    assert [one[-1] for one in ordered] == ["2"] * 3 + ["3"] * 3


async def test_long_periods_overlap_what_lies_far_behind_their_start(store: ResourceStore, way: str) -> None:
    stay = observation("stay", "p1", at="2026-01-01")
    long = type(stay.keys)(stay.keys.tokens, stay.keys.refs, ((stay.keys.dates[0][0], 0, 1 << 50),))
    await store.commit(Plan(puts=(type(stay)("Observation", "stay", stay.body, long, patient="p1"),)))
    await store.commit(Plan(puts=(observation("short", "p1", at="2026-01-01"),)))
    query = Query("Observation", (where("date", "date", "ap2027-06-01"),), count=4)
    assert await every_page(store, query) == ["stay"]


async def test_names_are_found_by_parts_and_by_pinyin_and_sorted(store: ResourceStore, way: str) -> None:
    names = ("张珅", "李建国", "陈明", "张秀英", "孙浩然")
    await store.commit(Plan(puts=tuple(patient(f"p{n}", name) for n, name in enumerate(names))))
    for text, expected in (("张", ["p0", "p3"]), ("zhangshen", ["p0"]), ("建国", [])):
        found = await every_page(store, Query("Patient", (where("name", "string", text),), count=1))
        assert sorted(found) == expected
    inside = Query("Patient", (where("name", "string", "建国", modifier="contains"),))
    assert await every_page(store, inside) == ["p1"]
    ordered = await every_page(store, Query("Patient", sort=(("name", False),), count=2))
    assert ordered == ["p2", "p1", "p4", "p0", "p3"]  # chenming, lijianguo, sunhaoran, zhangshen, zhangxiuying


async def test_a_name_is_found_half_in_characters_and_half_in_pinyin(store: ResourceStore) -> None:
    names = ("王小明", "欧阳娜娜", "吕布", "王小红")
    await store.commit(Plan(puts=tuple(patient(f"p{n}", name) for n, name in enumerate(names))))
    asked = {
        "王xm": "p0",
        "wangxm": "p0",
        "王xiaoming": "p0",
        "王XiaoM": "p0",
        "欧阳nn": "p1",
        "ouyangn": "p1",
        "吕bu": "p2",
    }
    for text, expected in asked.items():
        assert await every_page(store, Query("Patient", (where("name", "string", text),))) == [expected], text
    assert await every_page(store, Query("Patient", (where("name", "string", "王xq"),))) == []


async def test_a_name_is_found_in_every_written_form_and_exactly_in_its_own(store: ResourceStore) -> None:
    names = ("黃國強", "黄国强", "閆髙", "\ue81e丽")
    await store.commit(Plan(puts=tuple(patient(f"p{n}", name) for n, name in enumerate(names))))
    asked = {
        "黄国": ["p0", "p1"],
        "黃国强": ["p0", "p1"],
        "huangguoqiang": ["p0", "p1"],
        "闫高": ["p2"],
        "龴麗": ["p3"],
    }
    for text, expected in asked.items():
        assert sorted(await every_page(store, Query("Patient", (where("name", "string", text),)))) == expected, text
    exact = Query("Patient", (where("name", "string", "黃國強", modifier="exact"),))
    assert await every_page(store, exact) == ["p0"]


async def test_critical_results_are_found_by_interpretation(store: ResourceStore) -> None:
    flags = {"o1": "HH", "o2": "N", "o3": "LL"}
    said = {id_: [{"coding": [{"system": "urn:x", "code": code}]}] for id_, code in flags.items()}
    puts = [observation(id_, "p1", interpretation=concepts) for id_, concepts in said.items()]
    await store.commit(Plan(puts=(*puts, observation("o4", "p1"))))
    critical = where("interpretation", "token", "HH", "LL", "AA")
    for filters, expected in (
        ((critical,), ["o1", "o3"]),
        ((critical, where("status", "token", "final", modifier="not")), []),
        ((where("interpretation", "token", "true", modifier="missing"),), ["o4"]),
    ):
        assert sorted(await every_page(store, Query("Observation", filters, count=1))) == expected


async def test_words_of_a_code_lead_to_its_resources_alone(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    opened = Judge.opened
    monkeypatch.setattr(Judge, "opened", lambda self, row: looked_at.append(row.id) or opened(self, row))
    coding = {"system": "urn:x", "code": "K", "display": "Potassium"}
    said = ({"coding": [coding]}, {"coding": [coding], "text": "Kalium"}, {"text": "Kalzium"}, {"text": "钠"})
    for n, code in enumerate(said):
        body = {"resourceType": "Observation", "id": f"o{n}", "status": "final", "code": code}
        await store.commit(Plan(puts=(prepare("Observation", f"o{n}", dumps(body)),)))

    async def asked(text: str) -> list[str]:
        looked_at.clear()
        filters = (where("code", "token", text, modifier="text"),)
        return ids((await store.search(Query("Observation", filters), SYSTEM)).matches)

    assert await asked("potass") == ["o1", "o0"]
    assert await asked("KAL") == ["o2", "o1"]
    assert await asked("Kalz") == ["o2"] == looked_at
    assert await asked("Natrium") == [] == looked_at


async def test_identifiers_are_found_exactly(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(patient("p1"), patient("p2"))))
    system = "urn:alliance-gateway:number:city_first_hospital:patient"
    for value, expected in ((f"{system}|A-p1", ["p1"]), ("A-p2", ["p2"]), (f"{system}|A-p", [])):
        assert await every_page(store, Query("Patient", (where("identifier", "token", value),))) == expected


async def test_by_id_and_by_time(site: Site) -> None:
    store = site.store
    await store.commit(Plan(puts=(observation("o1", "p1"), observation("o2", "p2"))))
    site.pass_time(hours=1)
    await store.commit(Plan(puts=(observation("o3", "p1"),)))
    assert sorted(await every_page(store, Query("Observation", (where("_id", "token", "o1", "o3"),)))) == ["o1", "o3"]
    since = where("_lastUpdated", "date", "ge2026-03-20T09:30:00+08:00")
    assert await every_page(store, Query("Observation", (since,))) == ["o3"]
    before = where("_lastUpdated", "date", "lt2026-03-20T09:30:00+08:00")
    ascending = Query("Observation", (before,), sort=(("_lastUpdated", False),), count=1)
    assert sorted(await every_page(store, ascending)) == ["o1", "o2"]


async def test_totals(store: ResourceStore, way: str) -> None:
    await fill(store)
    page = await store.search(
        Query("Observation", (where("code", "token", "2823-3"),), count=2, total="accurate"), SYSTEM
    )
    assert page.total == 12 and len(page.matches) == 2
    page = await store.search(Query("Observation", count=2, total="accurate"), SYSTEM)
    assert page.total == 24
    page = await store.search(Query("Observation", count=0, total="accurate"), SYSTEM)
    assert page.total == 24 and page.matches == () and page.next == ""


async def test_deleted_and_replaced_versions_are_not_found(store: ResourceStore, way: str) -> None:
    await fill(store, people=2, each=4)
    changed = observation("o1-0", "p1", code="718-7")
    await store.commit(Plan(puts=(changed,), deletes=(Delete("Observation", "o0-0"),)))
    query = Query("Observation", (where("code", "token", "2823-3"),), count=3)
    assert sorted(await every_page(store, query)) == ["o0-2", "o1-2"]
    assert "o0-0" not in await every_page(store, Query("Observation", count=3))


@pytest.mark.parametrize(
    ("filters", "sort"),
    [
        ((of("p1"),), ()),
        ((of("p1"),), (("date", True),)),
        ((where("code", "token", "2823-3", "2951-2"),), ()),
        ((), ()),
        ((), (("date", False),)),
        ((), (("_lastUpdated", False),)),
    ],
)
async def test_pages_see_one_moment_while_others_write(
    store: ResourceStore, way: str, filters: tuple[Filter, ...], sort: tuple[tuple[str, bool], ...]
) -> None:
    await fill(store)
    query = Query("Observation", filters, sort, count=3)
    quiet = await every_page(store, query)
    found: list[str] = []
    cursor, n = "", 0
    while True:
        page = await store.search(_at(query, cursor), SYSTEM)
        found += ids(page.matches)
        n += 1
        puts = (observation(f"new{n}", "p1", at=day(n)), observation(f"o1-{n % 8}", "p1", "7.77", code="718-7"))
        await store.commit(Plan(puts=puts, deletes=(Delete("Observation", f"o0-{n % 8}"),)))
        if not page.next:
            break
        cursor = page.next
    assert found == quiet


async def test_a_link_outlives_a_restart_but_not_its_hour(site: Site) -> None:
    await fill(site.store)
    query = Query("Observation", (of("p1"),), count=3)
    link = (await site.store.search(query, SYSTEM)).next
    await site.store.commit(Plan(deletes=(Delete("Observation", "o1-4"),)))
    site.pass_time(minutes=59)
    await site.store.purge()
    store = await site.again()
    assert ids((await store.search(_at(query, link), SYSTEM)).matches) == ["o1-4", "o1-3", "o1-2"]
    site.pass_time(minutes=2)
    with pytest.raises(ExpiredPage):
        await store.search(_at(query, link), SYSTEM)


async def test_a_link_works_for_its_own_search_only(store: ResourceStore) -> None:
    await fill(store)
    link = (await store.search(Query("Observation", (of("p1"),), count=3), SYSTEM)).next
    for wrong in (link[:-4] + "AAAA", "x", "!!"):
        with pytest.raises(BadParameter):
            await store.search(Query("Observation", (of("p1"),), count=3, cursor=wrong), SYSTEM)
    with pytest.raises(BadParameter):
        await store.search(Query("Observation", (of("p2"),), count=3, cursor=link), SYSTEM)


async def test_postings_of_closed_versions_go_after_the_life_of_a_link(site: Site) -> None:
    await fill(site.store)
    await site.store.commit(Plan(puts=(observation("o1-0", "p1", "9.9", code="718-7"),)))
    assert await site.store.purge() == 0
    site.pass_time(hours=2)
    assert await site.store.purge() == 1
    query = Query("Observation", (where("code", "token", "2823-3"),), count=50)
    assert len(await every_page(site.store, query)) == 11
    assert await every_page(site.store, Query("Observation", (where("code", "token", "718-7"),))) == ["o1-0"]


async def test_includes_both_ways(store: ResourceStore) -> None:
    place = organization("g1", "市第一人民医院")
    result = observation("o1", "p1", performer=[{"reference": "Organization/g1"}])
    await store.commit(Plan(puts=(patient("p1"), place, result, observation("o2", "p2"))))
    with_both = (Include("Observation", "subject"), Include("Observation", "performer"))
    page = await store.search(Query("Observation", (of("p1"),), includes=with_both), SYSTEM)
    assert ids(page.matches) == ["o1"] and sorted(ids(page.included)) == ["g1", "p1"]
    only = (Include("Observation", "*", "Organization"),)
    page = await store.search(Query("Observation", (of("p1"),), includes=only), SYSTEM)
    assert ids(page.included) == ["g1"]
    back = (Include("Observation", "subject", reverse=True),)
    page = await store.search(Query("Patient", (where("_id", "token", "p1"),), includes=back), SYSTEM)
    assert ids(page.matches) == ["p1"] and ids(page.included) == ["o1"]


async def test_what_goes_along_is_cut_where_it_takes_too_long(
    store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.commit(Plan(puts=(patient("p1"), observation("o1", "p1"))))
    query = Query("Observation", (of("p1"),), includes=(Include("Observation", "subject"),))
    whole = await store.search(query, SYSTEM)
    assert ids(whole.included) == ["p1"] and not whole.cut
    monkeypatch.setattr(search_module, "ALONG_S", -1.0)
    cut = await store.search(query, SYSTEM)
    assert ids(cut.matches) == ["o1"] and cut.included == () and cut.cut


async def test_includes_see_the_moment_of_the_page(store: ResourceStore) -> None:
    await store.commit(Plan(puts=(patient("p1", "旧名"), *(observation(f"o{n}", "p1") for n in range(4)))))
    query = Query("Observation", (of("p1"),), count=2, includes=(Include("Observation", "subject"),))
    link = (await store.search(query, SYSTEM)).next
    await store.commit(Plan(puts=(patient("p1", "新名"),)))
    second = await store.search(_at(query, link), SYSTEM)
    assert "旧名" in second.included[0].body.decode()


async def test_what_cannot_be_asked_is_refused(store: ResourceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(store)
    with pytest.raises(UnknownParameter):
        await store.search(Query("Observation", (where("colour", "token", "red"),)), SYSTEM)
    with pytest.raises(BadParameter):
        await store.search(Query("Observation", (where("date", "date", "yesterday"),)), SYSTEM)
    monkeypatch.setattr(search_module, "GATHER", 2)
    with pytest.raises(TooCostly):
        await store.search(Query("Observation", sort=(("code", False),)), SYSTEM)


async def test_a_page_says_what_it_saw(store: ResourceStore) -> None:
    await fill(store)
    tx, at = store.horizon()
    first = await store.search(Query("Observation", (of("p1"),), count=3), SYSTEM)
    assert (first.as_of, first.at) == (tx, at)
    await store.commit(Plan(puts=(observation("o9", "p1"),)))
    second = await store.search(Query("Observation", (of("p1"),), count=3, cursor=first.next), SYSTEM)
    assert second.as_of == tx


async def test_searches_beside_a_writer_always_see_whole_commits(store: ResourceStore) -> None:
    async def write() -> None:
        for n in range(40):
            await store.commit(Plan(puts=(observation(f"a{n}", "p1"), observation(f"b{n}", "p1"))))

    writing = asyncio.create_task(write())
    while not writing.done():
        page = await store.search(Query("Observation", (of("p1"),), count=200), SYSTEM)
        assert len(page.matches) % 2 == 0
        await asyncio.sleep(0)
    await writing
