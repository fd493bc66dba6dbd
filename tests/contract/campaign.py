"""Residents merged, parted and taken back while everybody writes and reads: the actors, and what they were told.

One member sends HL7 v2, two members' clients write FHIR, a steward decides reviews, a platform pulls what is new and
walks pages. Everything an actor was acknowledged goes into the ledger; `campaign_checks` holds the store to it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from pathlib import Path

import httpx

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.identity import reviews
from gateway.identity.match import Code
from gateway.model import systems
from gateway.model.context import Role
from gateway.model.resource import Json, dumps, loads
from gateway.security.tokens import Credential, token_digest
from gateway.settings import General, Http, Mllp, Settings, StoreUrl
from tests.flow.alliance import clock_from
from tests.flow.messages import SENDER, card, oru

CITY, TCM = "city_first_hospital", "county_tcm_hospital"
CALLERS = {
    "city": (Role.ADMIN, CITY), "tcm": (Role.ADMIN, TCM), "steward": (Role.ADMIN, ""), "platform": (Role.PLATFORM, "")
}  # fmt: skip
NAMES = ("王芳", "李强", "赵敏", "周涛")
NUMBERS = 3
"""Local numbers of one member for the same resident."""
FHIR_JSON = "application/fhir+json"


@dataclass
class Told:
    """What a client was told of one Observation: values by version, and for whom it last said it is."""

    who: str
    values: dict[int, str | None] = field(default_factory=dict)
    subjects: dict[int, str] = field(default_factory=dict)
    acknowledged: int = 0

    @property
    def subject(self) -> str:
        """The Patient it was last said to be about, as written."""
        return self.subjects[max(self.subjects)]


@dataclass
class Walk:
    """Pages of one search: the moment of the first, and each resource with its version."""

    moment: str
    found: list[tuple[str, int]]


@dataclass
class Ledger:
    """Everything acknowledged, by whom it concerns."""

    observations: dict[str, Told] = field(default_factory=dict)
    patients: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)
    acts: int = 0
    walks: list[Walk] = field(default_factory=list)
    pulled: dict[tuple[str, str], dict[int, bool]] = field(default_factory=dict)
    updated: dict[str, int] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)


class Campaign:
    """The actors. Each method is one act of one of them."""

    def __init__(self, gateway: Gateway, clients: dict[str, httpx.AsyncClient], seed: int) -> None:
        self.gateway, self.clients, self.luck = gateway, clients, random.Random(seed)
        self.ledger = Ledger()
        self.known: list[str] = []
        self._serial = 0
        self._since = {"history": "", "search": ""}

    def serial(self) -> int:
        """A number nobody had before."""
        self._serial += 1
        return self._serial

    async def ask(
        self, who: str, method: str, path: str, body: Json | list[Json] | None = None, **headers: str
    ) -> httpx.Response:
        """One request; nothing may ever end in 5xx."""
        content = None if body is None else dumps(body)
        given = {"content-type": FHIR_JSON} | {key.replace("_", "-"): value for key, value in headers.items()}
        answer = await self.clients[who].request(method, path, content=content, headers=given)
        self.ledger.statuses[f"{method} {answer.status_code}"] += 1
        assert answer.status_code < 500, (method, path, answer.status_code, answer.text)
        return answer

    # ---- the member's interface engine
    async def register(self) -> None:
        """A word about every number, under the resident's own name."""
        for resident, place in product(range(len(NAMES)), range(NUMBERS)):
            name = NAMES[resident]
            await self.send(_adt("A04", resident, place, self.serial(), name=name, has_card=False, retired=None))

    async def message(self) -> None:
        """A registration, an update, a merge of two numbers of one resident, or a report."""
        resident, place = self.luck.randrange(len(NAMES)), self.luck.randrange(NUMBERS)
        kind = self.luck.choice(("A04", "A08", "A08", "A40", "R01", "R01"))
        if kind == "R01":
            await self.send(_report(resident, place, self.serial()))
            return
        others = [one for one in range(NUMBERS) if one != place]
        retired = self.luck.choice(others) if kind == "A40" else None
        # A card sent now and then joins its numbers by itself; under another's name it is a lent one.
        has_card = kind != "A40" and self.luck.random() < 0.2
        name = NAMES[resident] if self.luck.random() < 0.9 or not has_card else "孙丽"
        await self.send(_adt(kind, resident, place, self.serial(), name=name, has_card=has_card, retired=retired))

    async def merge_numbers(self, resident: int, place: int, retired: int) -> None:
        """ADT^A40, worked off."""
        name = NAMES[resident]
        await self.send(_adt("A40", resident, place, self.serial(), name=name, has_card=False, retired=retired))
        await self.gateway.worker.drained()

    async def lend(self, resident: int) -> str:
        """Somebody's two numbers, one of which comes to say the resident's card. Gives the review this asks for."""
        words = ((7, NAMES[resident], True), (8, "孙丽", False), (9, "孙丽", False), (9, "孙丽", True))
        for turn, (place, name, has_card) in enumerate(words):
            kind, retired = ("A40", 8) if turn == 2 else ("A08", None)
            await self.send(_adt(kind, resident, place, self.serial(), name=name, has_card=has_card, retired=retired))
            await self.gateway.worker.drained()
        asked = await self.tasks("requested", (Code.CARD_NAME_DIFFERS,))
        return next(str(one["id"]) for one in asked if one["identifier"][0]["value"] == f"W{resident}9")

    async def send(self, body: bytes) -> None:
        """Keep one message, as the MLLP door does."""
        receipt = await self.gateway.intake.v2(body)
        assert b"MSA|AA|" in receipt.ack, receipt.ack
        self.ledger.messages.append(receipt.kept.key)

    # ---- FHIR clients of two members
    def subject(self) -> str:
        """Any Patient ever heard of, superseded ones too."""
        return self.luck.choice(self.known)

    async def create(self, who: str) -> None:
        """An Observation about anybody."""
        subject, value = self.subject(), f"{self.serial()}.0"
        answer = await self.ask(who, "POST", "/fhir/Observation", observation(subject, value))
        if answer.status_code == 201:
            id_, version = _location(answer.headers["location"])
            self._said(who, id_, version, value, subject)

    async def update(self, who: str) -> None:
        """Read, change the value, perhaps also whom it is about, write under If-Match."""
        if (id_ := self._own(who)) is None:
            return
        answer = await self.ask(who, "GET", f"/fhir/Observation/{id_}")
        if answer.status_code != 200:
            return
        body = loads(answer.content)
        value, subject = f"{self.serial()}.0", ""
        body["valueQuantity"]["value"] = float(value)
        if self.luck.random() < 0.3:
            subject, before = self.subject(), body["subject"]["reference"]
            body["subject"] = {"reference": f"Patient/{subject}"}
            subject = "" if before == f"Patient/{subject}" else subject  # written back as read, it says nothing new
        done = await self.ask(who, "PUT", f"/fhir/Observation/{id_}", body, if_match=answer.headers["etag"])
        if done.status_code == 200:
            self._said(who, id_, _version(done.headers["etag"]), value, subject)

    async def patch(self, who: str) -> None:
        """Another value, whatever the version."""
        if (id_ := self._own(who)) is None:
            return
        value = f"{self.serial()}.0"
        patch = [{"op": "replace", "path": "/valueQuantity/value", "value": float(value)}]
        done = await self.ask(
            who, "PATCH", f"/fhir/Observation/{id_}", patch, content_type="application/json-patch+json"
        )
        if done.status_code == 200:
            self._said(who, id_, _version(done.headers["etag"]), value)

    async def delete(self, who: str) -> None:
        """Gone, its history stays."""
        if (id_ := self._own(who)) is None:
            return
        done = await self.ask(who, "DELETE", f"/fhir/Observation/{id_}")
        told = self.ledger.observations[id_]
        if done.status_code == 204 and "etag" in done.headers:
            version = _version(done.headers["etag"])
            told.acknowledged += version not in told.values
            told.values.setdefault(version, None)

    async def transaction(self, who: str) -> None:
        """Two new Observations about two Patients and a changed one, all or none."""
        subjects = [self.subject(), self.subject()]
        values = [f"{self.serial()}.0" for _ in range(3)]
        entries: list[Json] = [
            {"resource": observation(subject, value), "request": {"method": "POST", "url": "Observation"}}
            for subject, value in zip(subjects, values, strict=False)
        ]
        id_ = self._own(who)
        held = await self.ask(who, "GET", f"/fhir/Observation/{id_}") if id_ else None
        if held is not None and held.status_code == 200:
            body = loads(held.content)
            body["valueQuantity"]["value"] = float(values[2])
            request = {"method": "PUT", "url": f"Observation/{id_}", "ifMatch": held.headers["etag"]}
            entries.append({"resource": body, "request": request})
        done = await self.ask(who, "POST", "/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
        if done.status_code != 200:
            return
        for entry, value, subject in zip(loads(done.content)["entry"], values, [*subjects, ""], strict=False):
            self._said(who, *_location(entry["response"]["location"]), value, subject)

    async def person(self, who: str) -> None:
        """A Patient of the client's own: made, with a resident's traits, or written again."""
        resident = self.luck.randrange(len(NAMES))
        known = [one for one in self.ledger.patients if one.startswith(f"{who}/")]
        phone = {"system": "phone", "value": f"139{self.serial():08d}"}
        if known and self.luck.random() < 0.7:
            id_ = self.luck.choice(known).partition("/")[2]
            body = patient(resident, telecom=[phone], id=id_, photo=[{"url": f"urn:photo:{self.serial()}"}])
            done = await self.ask(who, "PUT", f"/fhir/Patient/{id_}", body)
        else:
            done = await self.ask(
                who, "POST", "/fhir/Patient", patient(resident, telecom=[phone], photo=[{"url": "urn:photo"}])
            )
        if done.status_code in (200, 201):
            id_ = _location(done.headers["location"])[0] if done.status_code == 201 else id_
            self.ledger.patients[f"{who}/{id_}"] += 1

    def _own(self, who: str) -> str | None:
        mine = [id_ for id_, told in self.ledger.observations.items() if told.who == who]
        return self.luck.choice(mine) if mine else None

    def _said(self, who: str, id_: str, version: int, value: str, subject: str = "") -> None:
        told = self.ledger.observations.setdefault(id_, Told(who))
        told.values[version], told.acknowledged = value, told.acknowledged + 1
        if subject:
            told.subjects[version] = subject

    # ---- the steward
    async def decide(self) -> None:
        """The same person, another person, or an earlier decision taken back."""
        choice = self.luck.random()
        if choice < 0.35:
            await self.take_back()
            return
        tasks = await self.tasks("requested", tuple(Code))
        if not tasks:
            return
        task = self.luck.choice(tasks)
        candidates = reviews.candidates_of(task)
        verdict = f"same:{self.luck.choice(candidates)}" if candidates and choice < 0.85 else "different"
        await self.post(f"/console/people/{task['id']}", verdict=verdict)

    async def acts(self) -> list[str]:
        """Ids of the merges and partings that stand."""
        return [task["id"] for task in await self.tasks("completed", reviews.ACTS)]

    async def take_back(self) -> bool:
        """Undo the first act, in no order, of those that stand and can be; True when there was one."""
        acts = await self.acts()
        self.luck.shuffle(acts)
        for act in acts:
            if await self.post(f"/console/people/{act}/undo"):
                return True
        return False

    async def tasks(self, status: str, codes: tuple[str, ...]) -> list[Json]:
        """Reviews or acts in this state."""
        code = ",".join(f"{systems.REVIEW}|{one}" for one in codes)
        answer = await self.clients["steward"].get(
            "/fhir/Task", params={"status": status, "code": code, "_count": "200"}
        )
        return [one["resource"] for one in loads(answer.content).get("entry", ())]

    async def post(self, path: str, **form: str) -> bool:
        """A form of the desk; True when it was done."""
        answer = await self.clients["steward"].post(path, data=form)
        self.ledger.statuses[f"desk {answer.status_code}"] += 1
        assert answer.status_code < 500, (path, answer.text)
        self.ledger.acts += answer.status_code == 303
        return answer.status_code == 303

    # ---- the platform
    async def _pages(self, path: str) -> AsyncIterator[Json]:
        """The Bundles from an address on, by their next links."""
        while path:
            bundle = loads((await self.ask("platform", "GET", path)).content)
            yield bundle
            path = _next(bundle)

    async def pull(self) -> None:
        """Every version since the last time, by history."""
        since = self._since["history"]
        moment = ""
        async for bundle in self._pages("/fhir/_history?_count=50" + (f"&_since={since}" if since else "")):
            moment = moment or bundle["meta"]["lastUpdated"]
            for entry in bundle.get("entry", ()):
                self._pulled(entry)
        self._since["history"] = moment.replace("+", "%2B")

    def _pulled(self, entry: Json) -> None:
        type_, id_ = entry["fullUrl"].split("/")[-2:]
        deleted = entry["request"]["method"] == "DELETE"
        version = _version(entry["response"]["etag"])
        self.ledger.pulled.setdefault((type_, id_), {})[version] = deleted
        if type_ == "Patient" and id_ not in self.known:
            self.known.append(id_)

    async def pull_updated(self) -> None:
        """Current Observations changed since the last time, by search."""
        since = self._since["search"]
        moment = ""
        async for bundle in self._pages("/fhir/Observation?_count=50" + (f"&_lastUpdated=ge{since}" if since else "")):
            moment = moment or bundle["meta"]["lastUpdated"]
            for entry in bundle.get("entry", ()):
                self.ledger.updated[entry["resource"]["id"]] = int(entry["resource"]["meta"]["versionId"])
        self._since["search"] = moment.replace("+", "%2B")

    async def walk(self) -> None:
        """All Observations in pages, while others write."""
        walk = Walk("", [])
        async for bundle in self._pages(f"/fhir/Observation?_count={self.luck.choice((3, 7, 20))}"):
            walk.moment = walk.moment or bundle["meta"]["lastUpdated"]
            assert bundle["meta"]["lastUpdated"] == walk.moment
            found = [one["resource"] for one in bundle.get("entry", ())]
            walk.found += [(one["id"], int(one["meta"]["versionId"])) for one in found]
            await asyncio.sleep(0)
        self.ledger.walks.append(walk)


# ---- bodies -----------------------------------------------------------------------------------
def observation(subject: str, value: str) -> Json:
    """A result about a Patient."""
    return {
        "resourceType": "Observation", "status": "final",
        "code": {"coding": [{"system": systems.LOINC, "code": "2823-3"}]},
        "subject": {"reference": f"Patient/{subject}"},
        "valueQuantity": {"value": float(value), "unit": "mmol/L"},
    }  # fmt: skip


def patient(resident: int, **more: object) -> Json:
    """A Patient with a resident's name, birth date and sex."""
    number = card(resident)
    born = f"{number[6:10]}-{number[10:12]}-{number[12:14]}"
    sex = "male" if int(number[16]) % 2 else "female"
    return {"resourceType": "Patient", "name": [{"text": NAMES[resident]}], "gender": sex, "birthDate": born} | more


def _adt(kind: str, resident: int, place: int, serial: int, *, name: str, has_card: bool, retired: int | None) -> bytes:
    person = card(resident)
    sex, shown = "M" if int(person[16]) % 2 else "F", f"~{person}^^^^NI" if has_card else ""
    structure = {"A04": "ADT_A01", "A08": "ADT_A01", "A40": "ADT_A39"}[kind]
    at = (ANCHOR - timedelta(days=1) + timedelta(seconds=serial)).strftime("%Y%m%d%H%M%S")
    phone = f"138{serial:08d}" if retired is None else ""
    head = f"GATEWAY|ALLIANCE|{at}||ADT^{kind}^{structure}|C{serial:08d}|P|2.5.1||||||UNICODE UTF-8"
    lines = [
        f"MSH|^~\\&|{'|'.join(SENDER)}|{head}",
        f"EVN|{kind}|{at}",
        f"PID|1||W{resident}{place}^^^CITY1^MR{shown}||{name}||{person[6:14]}|{sex}|||||{phone}",
        "PV1|1|O" if retired is None else f"MRG|W{resident}{retired}^^^CITY1^MR",
    ]
    return ("\r".join(lines) + "\r").encode()


def _report(resident: int, place: int, serial: int) -> bytes:
    at = (ANCHOR - timedelta(days=1) + timedelta(seconds=serial)).strftime("%Y%m%d%H%M%S")
    lines = oru(serial, resident, items=2, control=f"R{serial:08d}", at=at).decode().split("\r")
    person = card(resident)
    sex = "M" if int(person[16]) % 2 else "F"
    lines[1] = f"PID|1||W{resident}{place}^^^CITY1^MR||{NAMES[resident]}||{person[6:14]}|{sex}"
    return "\r".join(lines).encode()


def _version(etag: str) -> int:
    return int(etag.removeprefix('W/"').rstrip('"'))


def _location(address: str) -> tuple[str, int]:
    """(id, version) of `…/Type/id/_history/version`."""
    steps = address.split("/")
    place = steps.index("_history")
    return steps[place - 1], int(steps[place + 1])


def _next(bundle: Json) -> str:
    url = next((str(one["url"]) for one in bundle["link"] if one["relation"] == "next"), "")
    return url[url.index("/fhir") :] if url else ""


# ---- running ----------------------------------------------------------------------------------
@asynccontextmanager
async def campaign(url: str, home: Path, seed: int) -> AsyncIterator[Campaign]:
    """A gateway with its doors open, and clients for everybody."""
    tokens = {who: f"{who}-campaign-token-{'0' * 16}" for who in CALLERS}
    known = [Credential(who, who, *CALLERS[who], digest=token_digest(tokens[who])) for who in CALLERS]
    settings = Settings(
        gateway=General(home=str(home)), http=Http(port=0), mllp=Mllp(port=0),
        store=StoreUrl("" if url.startswith("sqlite") else url),
    )  # fmt: skip
    gateway = await Gateway.open(settings, clock=clock_from(ANCHOR), credentials=known)
    await gateway.start()
    base = f"http://127.0.0.1:{gateway.http_port}"
    clients = {
        who: httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        for who, token in tokens.items()
    }
    try:
        made = Campaign(gateway, clients, seed)
        yield made
    finally:
        for client in clients.values():
            await client.aclose()
        await gateway.close()
