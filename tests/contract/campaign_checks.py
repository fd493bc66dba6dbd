"""What must be true of the store after any campaign, and what a decision taken back must restore."""

from __future__ import annotations

from collections import Counter, defaultdict

from gateway.model.context import SYSTEM
from gateway.model.outcome import State
from gateway.model.query import Filter, Query
from gateway.model.resource import Json, loads, reference_id
from gateway.model.subject import subject_of
from gateway.store.base import AuditQuery, Past, Resource
from gateway.store.resources import ResourceStore
from tests.contract.campaign import Campaign

_ALL = 1_000_000
Place = tuple[str, str]


class Picture:
    """Everything the store holds at rest: all versions, who leads to whom, whose each source record is."""

    def __init__(self, versions: dict[Place, list[Resource]]) -> None:
        self.versions = versions
        self.current = {place: found[-1] for place, found in versions.items() if not found[-1].deleted}
        self.people = {id_: loads(one.body) for (type_, id_), one in self.current.items() if type_ == "Patient"}

    @staticmethod
    async def of(store: ResourceStore) -> Picture:
        """Read through history, which never drops a version."""
        page = await store.past(Past("", "", _ALL), SYSTEM)
        versions: dict[Place, list[Resource]] = defaultdict(list)
        for one in reversed(page.versions):
            versions[one.type, one.id].append(one)
        return Picture(dict(versions))

    def survivor(self, person: str) -> str:
        """Who stands for a Patient now."""
        for _ in range(50):
            led = [one for one in self.people[person].get("link", ()) if one["type"] == "replaced-by"]
            if not led:
                return person
            person = reference_id(led[0]["other"], "Patient")
        raise AssertionError(f"Patients lead in a circle: {person}")

    def story(self, id_: str, subjects: dict[int, str]) -> str:
        """What became of one Observation, and of everybody it was about."""
        found = self.versions["Observation", id_]
        lines = [f"Observation/{id_} said of {subjects}"]
        about = [subject_of("Observation", id_, one.body) if not one.deleted else "" for one in found]
        lines += [f"{one.at} v{one.version} src {one.src} of {whom}" for one, whom in zip(found, about, strict=True)]
        for person in {*about, *subjects.values()} - {""}:
            for one in self.versions["Patient", person]:
                links = [
                    f"{link['type']} {reference_id(link['other'], 'Patient')}"
                    for link in loads(one.body).get("link", ())
                ]
                lines.append(f"{one.at} Patient/{person} v{one.version} {', '.join(links)}")
        return "\n".join(lines)

    def bodies(self) -> dict[Place, Json]:
        """What is said now, without ids of versions; Tasks tell the story itself and are left out."""
        return {
            place: {key: value for key, value in loads(one.body).items() if key != "meta"}
            for place, one in self.current.items()
            if one.type != "Task"
        }


async def hold(campaign: Campaign) -> Picture:
    """Every check, at rest."""
    store = campaign.gateway.shared.store
    assert isinstance(store, ResourceStore)
    picture = await Picture.of(store)
    _histories(picture)
    _subjects(picture, campaign)
    await _records(picture, store)
    await _searches(picture, store)
    _ledger(picture, campaign)
    _walks(picture, campaign)
    await _audits(store, campaign)
    return picture


def _histories(picture: Picture) -> None:
    """Versions count 1, 2, 3 and their instants never go back."""
    for place, found in picture.versions.items():
        assert [one.version for one in found] == list(range(1, len(found) + 1)), place
        instants = [one.at for one in found]
        assert instants == sorted(instants), place


def _subjects(picture: Picture, campaign: Campaign) -> None:
    """Whom a resource is about is a living Patient: the one its writer named, or who stands for that one."""
    for (type_, id_), one in picture.current.items():
        about = subject_of(type_, id_, one.body)
        if type_ in ("Patient", "Task") or not about:
            continue
        assert about in picture.people, (type_, id_, about)
        assert picture.survivor(about) == about, f"{type_}/{id_} points to superseded {about}"
    for id_, told in campaign.ledger.observations.items():
        if (one := picture.current.get(("Observation", id_))) is not None:
            about, meant = subject_of("Observation", id_, one.body), told.subject
            assert about == picture.survivor(meant), picture.story(id_, told.subjects)
    for person in picture.people:
        picture.survivor(person)


async def _records(picture: Picture, store: ResourceStore) -> None:
    """A source record belongs to one living Patient, and what came from it lies there."""
    owner: dict[int, str] = {}
    for person in picture.people:
        for row in await store.records_of(person):
            assert picture.survivor(person) == person, f"{row.local_number} belongs to superseded {person}"
            owner[row.src] = person
    for (type_, id_), one in picture.current.items():
        about = subject_of(type_, id_, one.body)
        if one.src in owner and about and type_ not in ("Patient", "Task"):
            assert about == owner[one.src], f"{type_}/{id_} is not with its record"


async def _searches(picture: Picture, store: ResourceStore) -> None:
    """By patient, also by a superseded one, search finds what points there, and so does the whole record."""
    theirs: dict[str, set[str]] = defaultdict(set)
    for (type_, id_), one in picture.current.items():
        if type_ == "Observation":
            theirs[subject_of(type_, id_, one.body)].add(id_)
    for person in picture.people:
        asked = Query("Observation", (Filter("patient", "reference", (f"Patient/{person}",)),), count=_ALL)
        found = [one.id for one in (await store.search(asked, SYSTEM)).matches]
        wanted = theirs[picture.survivor(person)]
        assert len(found) == len(set(found)) and set(found) == wanted, person
        whole = [one.id for one in await store.everything(person, SYSTEM) if one.type == "Observation"]
        assert len(whole) == len(set(whole)) and set(whole) == wanted, person


def _ledger(picture: Picture, campaign: Campaign) -> None:
    """What was acknowledged is there, in the version the client was told; who pulls has seen every last version."""
    ledger = campaign.ledger
    for id_, told in ledger.observations.items():
        found = picture.versions["Observation", id_]
        for version, value in told.values.items():
            one = found[version - 1]
            said = None if one.deleted else str(loads(one.body)["valueQuantity"]["value"])
            assert said == value, f"Observation/{id_}/_history/{version}"
    for place, found in picture.versions.items():
        last = found[-1]
        assert ledger.pulled[place].get(last.version) is last.deleted, f"{place} was pulled up to another version"
        assert sorted(ledger.pulled[place]) == list(range(1, last.version + 1)), place
    for (type_, id_), one in picture.current.items():
        if type_ == "Observation":
            assert ledger.updated.get(id_) == one.version, f"Observation/{id_} was missed by _lastUpdated"


def _walks(picture: Picture, campaign: Campaign) -> None:
    """The pages of one search together are what there was at the moment of the first, each resource once."""
    for walk in campaign.ledger.walks:
        found = dict(walk.found)
        assert len(found) == len(walk.found), "a resource came on two pages"
        for (type_, id_), versions in picture.versions.items():
            if type_ == "Observation":
                assert found.get(id_) in _shown(versions, walk.moment), (id_, walk.moment)


def _shown(versions: list[Resource], moment: str) -> set[int | None]:
    """The version current at an instant; several committed in the same millisecond are all possible."""
    before = [one for one in versions if loads_at(one) < moment]
    during = [one for one in versions if loads_at(one) == moment]
    possible = [before[-1] if before else None, *during]
    return {None if one is None or one.deleted else one.version for one in possible}


def loads_at(one: Resource) -> str:
    """The instant of a version as it is printed."""
    return one.at.isoformat(timespec="milliseconds")


async def _audits(store: ResourceStore, campaign: Campaign) -> None:
    """A row for every effect: of each client, each message, each decision; and the chain holds."""
    ledger = campaign.ledger
    rest = [row for _, row in await store.audits(AuditQuery(kind="rest", outcome="0", limit=_ALL))]
    effects = Counter(place for row in rest if row.action in "CUD" for place in row.entities)
    for id_, told in ledger.observations.items():
        assert effects[f"Observation/{id_}"] >= told.acknowledged, id_
    merges = [row for _, row in await store.audits(AuditQuery(kind="merge", outcome="0", limit=_ALL))]
    assert len(merges) == ledger.acts
    messages = {row.request_id for _, row in await store.audits(AuditQuery(kind="message", limit=_ALL))}
    for key in ledger.messages:
        entry = await campaign.gateway.inbox.messages.entry(key)
        assert entry is not None and entry.state is State.PROCESSED, (key, entry)
        assert key in messages
    verdict = await store.audit_log.verify()
    assert verdict.checked and not verdict.broken
