"""Ten times more than can be processed, through the MLLP door: what is promised to senders, to doctors, to the machine.

A real gateway in a process of its own (SQLite, validation, audit, as shipped but for the bounds of its queue), senders
on real sockets in a second one, a doctor's browser in a third: pages and searches, a few a second all along, of
residents the messages are not about.

    quiet     the doctor alone
    full      senders as fast as they are answered, until so much waits that the door asks them to come again; what
              is processed a second until the queue is empty, when they have stopped, is the capacity
    normal    half the capacity for a while
    overload  `--times` the capacity for `--seconds`, HTTP push beside it; refused messages are not sent again
    after     the queue runs empty; every acknowledged report must be found in the store

Printed and held to: nothing acknowledged is lost, no AR and no hang-up, a refusal is AE or 503 and says when to come
again, the queue stays within its bounds, the doctor's 95th percentile is below twice that of a normal load (that of
the quiet stands beside it), memory stands. Senders wait for their answers, and the door gives many refusals slowly:
what they come to offer is printed beside what they were told to.

    python -m tests.bench.bench_overload [--seconds 20] [--times 10] [--stored 20000] [--waiting-mb 8] [--waiting-s 15]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from gateway.app import Gateway
from gateway.inbox.queue import Arrival
from gateway.model.context import SYSTEM
from gateway.model.query import Query
from gateway.model.systems import local_number
from gateway.model.times import system_clock
from gateway.security.tokens import demo_credentials
from gateway.settings import General, Http, Inbox, Mllp, Settings
from tests.bench.machine import machine
from tests.flow.alliance import TOKENS
from tests.flow.messages import oru

CONNECTIONS = 64
RESIDENTS = 400
SOURCE, MEMBER = "city_first_hospital", "city_first_hospital"
_CONTEXT = multiprocessing.get_context("spawn")
_BATCH = 500


class Child:
    """A process that does what it is told over a pipe."""

    def __init__(self, target: Any, *args: Any) -> None:
        self.pipe, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=target, args=(theirs, *args), daemon=True)
        self.process.start()

    def ask(self, *words: Any) -> Any:
        """Tell, and wait for the answer."""
        self.pipe.send(words)
        return self.pipe.recv()

    def stop(self) -> None:
        """End it."""
        self.pipe.send(None)
        self.process.join(30)


# ---- the gateway --------------------------------------------------------------------------------
def gateway(pipe: Connection, home: str, stored: int, waiting_mb: int, waiting_s: float) -> None:
    """Sends its ports once it is filled; then counts, and looks for reports."""
    uvloop.run(_gateway(pipe, home, stored, Inbox(waiting_mb=waiting_mb, waiting_s=waiting_s)))


async def _gateway(pipe: Connection, home: str, stored: int, rules: Inbox) -> None:
    settings = Settings(gateway=General(home=home), http=Http(port=0), mllp=Mllp(port=0), inbox=rules)
    credentials = demo_credentials(TOKENS, doctor_member="township_health_centre")
    made = await Gateway.open(settings, credentials=credentials)
    await made.start()
    for first in range(0, max(RESIDENTS, stored // 23), _BATCH):
        kept = [Arrival(SOURCE, "v2", oru(n, n % RESIDENTS), system_clock()) for n in range(first, first + _BATCH)]
        await asyncio.gather(*map(made.inbox.messages.keep, kept))
        await made.worker.drained()
    people = (await made.store.search(Query("Patient", count=RESIDENTS), SYSTEM)).matches
    pipe.send((made.mllp_port, made.http_port, [one.id for one in people]))
    while (words := await asyncio.to_thread(pipe.recv)) is not None:
        pipe.send(await _answer(made, *words))
    await made.close()


async def _answer(made: Gateway, word: str, numbers: Iterable[int] = ()) -> Any:
    if word == "waiting":
        return (await made.inbox.messages.backlog())[0], await made.inbox.messages.open_count()
    if word == "processed":
        return sum(n for (_, state), n in (await made.inbox.messages.counts()).items() if state == "processed")
    await made.worker.drained()
    if word == "drained":
        return None
    system = local_number(MEMBER, "report")
    found = [await made.store.find_identifier("DiagnosticReport", system, f"R{n:08d}") for n in numbers]
    return [n for n, rows in zip(numbers, found, strict=True) if len(rows) != 1]


# ---- the senders --------------------------------------------------------------------------------
def senders(pipe: Connection, port: int, push: int) -> None:
    """Told seconds, messages a second (0: as fast as they are answered) and the first number; says what came back."""
    while (words := pipe.recv()) is not None:
        pipe.send(uvloop.run(_send(port, push, *words)))


async def _send(port: int, push: int, seconds: float, rate: float, first: int) -> dict[str, Any]:
    numbers, said = itertools.count(first), Counter[str]()
    acknowledged: list[int] = []
    until = time.perf_counter() + seconds
    pause_s = CONNECTIONS / rate if rate else 0.0
    lines = [_line(port, numbers, pause_s, until, said, acknowledged) for _ in range(CONNECTIONS)]
    pushing = asyncio.to_thread(_push, push, numbers, until, said, acknowledged) if rate else asyncio.sleep(0)
    await asyncio.gather(*lines, pushing)
    return {"said": said, "acknowledged": acknowledged, "offered": next(numbers) - first}


async def _line(
    port: int, numbers: Iterable[int], pause_s: float, until: float, said: Counter[str], acknowledged: list[int]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    due = time.perf_counter()
    for number in numbers:
        writer.write(b"\x0b" + oru(number, _ill(number)) + b"\x1c\r")
        try:
            answer = await reader.readuntil(b"\x1c\r")
        except (asyncio.IncompleteReadError, ConnectionError):
            said["hang-up"] += 1
            return
        said[verdict := _verdict(answer)] += 1
        if verdict == "AA":
            acknowledged.append(number)
        due = max(due + pause_s, time.perf_counter() - 1.0)
        if time.perf_counter() >= until:
            break
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    writer.close()


def _ill(number: int) -> int:
    """Whom a message is about: none of those whose pages are read, for these would grow and say nothing any more."""
    return RESIDENTS + number % RESIDENTS


def _verdict(answer: bytes) -> str:
    code = answer.partition(b"MSA|")[2][:2].decode()
    advised = "重发".encode() in answer
    return code if code == "AA" else f"{code} GW-INB-006" if b"GW-INB-006" in answer and advised else f"{code} other"


def _push(port: int, numbers: Iterable[int], until: float, said: Counter[str], acknowledged: list[int]) -> None:
    """A sender over HTTP, once a fifth of a second."""
    line = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {TOKENS['vendor']}"}
    while time.perf_counter() < until:
        number = next(iter(numbers))
        line.request("POST", f"/push/{SOURCE}", oru(number, _ill(number)), headers)
        answer = line.getresponse()
        answer.read()
        retry = answer.status != 503 or answer.getheader("Retry-After")
        said[f"HTTP {answer.status}" + ("" if retry else " without advice")] += 1
        if answer.status == 202:
            acknowledged.append(number)
        time.sleep(0.2)


# ---- the doctor ---------------------------------------------------------------------------------
def doctor(pipe: Connection, port: int, people: list[str]) -> None:
    """Told seconds; reports how long each page and each search took, in ms."""
    line = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {TOKENS['doctor']}"}
    turn = itertools.cycle(people)
    while (words := pipe.recv()) is not None:
        took: dict[str, list[float]] = {"page": [], "search": []}
        until = time.perf_counter() + words[0]
        while time.perf_counter() < until:
            one = next(turn)
            for what, path in (("page", f"/ui/p/{one}"), ("search", f"/fhir/Observation?patient={one}&_count=20")):
                begun = time.perf_counter()
                line.request("GET", path, headers=headers)
                answer = line.getresponse()
                answer.read()
                assert answer.status == 200, (path, answer.status)
                took[what].append((time.perf_counter() - begun) * 1e3)
                time.sleep(0.05)
        pipe.send(took)


def p95(took: list[float]) -> float:
    """95th percentile."""
    return statistics.quantiles(took, n=20)[18]


# ---- the run ------------------------------------------------------------------------------------
def resident_mb(pid: int) -> float:
    """Resident memory without file pages."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def _beside(house: Child, reader: Child, sender: Child, seconds: float, rate: float, first: int) -> dict[str, Any]:
    """Senders and doctor at once; memory and queue looked at every second."""
    before = house.ask("processed")
    reader.pipe.send((seconds,))
    sender.pipe.send((seconds, rate, first))
    begun, memory, queue = time.perf_counter(), list[float](), list[int]()
    while not sender.pipe.poll(1.0):
        memory.append(resident_mb(house.process.pid or 0))
        queue.append(house.ask("waiting")[0])
    made = dict(sender.pipe.recv())
    took_s = time.perf_counter() - begun
    made |= {"took": reader.pipe.recv(), "memory": memory, "queue": queue, "seconds": took_s}
    return made | {"rate": (house.ask("processed") - before) / took_s}


def _run(args: argparse.Namespace, home: str) -> list[str]:
    house = Child(gateway, home, args.stored, args.waiting_mb, args.waiting_s)
    port, web, people = house.pipe.recv()
    sender, reader = Child(senders, port, web), Child(doctor, web, people)
    reader.ask(2.0)
    quiet = reader.ask(part := max(10.0, args.seconds / 4))
    full = _beside(house, reader, sender, part, 0.0, 10_000_000)
    capacity = _drained(house)
    print(
        f"capacity {capacity:,.0f} messages/s, {full['rate']:,.0f} while senders send as fast as they can; "
        f"answers {dict(full['said'])}",
        flush=True,
    )
    normal = _beside(house, reader, sender, part, capacity / 2, 20_000_000)
    over = _beside(house, reader, sender, args.seconds, capacity * args.times, 30_000_000)
    acknowledged = [number for one in (full, normal, over) for number in one["acknowledged"]]
    begun = time.perf_counter()
    lost = house.ask("lost", acknowledged)
    print(f"queue empty and {len(acknowledged):,} reports looked for after {time.perf_counter() - begun:.0f} s more")
    faults = [
        *_senders_view(over, full, capacity),
        *_inside(over, args),
        *_doctors_view(over["took"], normal["took"], quiet),
    ]
    faults += [f"{len(lost)} acknowledged reports lost: {lost[:5]}"] if lost else []
    for one in (reader, sender, house):
        one.stop()
    return faults


def _drained(house: Child) -> float:
    """Messages a second, while what waits is processed."""
    before, begun = house.ask("processed"), time.perf_counter()
    house.ask("drained")
    took_s = time.perf_counter() - begun
    return float(house.ask("processed") - before) / took_s


def _senders_view(over: dict[str, Any], full: dict[str, Any], capacity: float) -> list[str]:
    offered = over["offered"] / over["seconds"]
    print(f"overload: {offered:,.0f} messages/s offered ({offered / capacity:.1f} x), answers {dict(over['said'])}")
    print(f"          {over['rate']:,.0f} messages/s processed meanwhile ({over['rate'] / capacity:.0%} of capacity)")
    said = full["said"] + over["said"]
    good = {"AA", "AE GW-INB-006", "HTTP 202", "HTTP 503"}
    return [f"answered {what!r} {count} times" for what, count in said.items() if what not in good]


def _inside(over: dict[str, Any], args: argparse.Namespace) -> list[str]:
    memory, most = over["memory"], max(over["queue"]) / 2**20
    third = max(1, len(memory) // 3)
    first, last = statistics.mean(memory[:third]), statistics.mean(memory[-third:])
    print(
        f"memory without file pages: {first:.0f} MB in the first third, {last:.0f} in the last, most {max(memory):.0f}"
    )
    print(f"queue: {most:.1f} MB at most (bound {args.waiting_mb} MB or {args.waiting_s:.0f} s)")
    faults = [f"memory grew by {last - first:.0f} MB"] if last > first * 1.1 else []
    return faults + ([f"{most:.1f} MB waited"] if most > args.waiting_mb * 1.5 else [])


def _doctors_view(
    took: dict[str, list[float]], normal: dict[str, list[float]], quiet: dict[str, list[float]]
) -> list[str]:
    faults = []
    for what in took:
        by = {"quiet": quiet[what], "normal": normal[what], "overload": took[what]}
        said = "   ".join(f"{when} {statistics.median(one):5.1f}, {p95(one):5.1f}" for when, one in by.items())
        ratio, calm = p95(took[what]) / p95(normal[what]), p95(took[what]) / p95(quiet[what])
        print(f"doctor's {what:<7} p50, p95 ms: {said}   p95 {ratio:.2f} x normal, {calm:.2f} x quiet")
        faults += [f"doctor's {what}: p95 {ratio:.2f} x"] if ratio >= 2 else []
    return faults


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--times", type=float, default=10.0)
    parser.add_argument("--stored", type=int, default=20_000, help="resources")
    parser.add_argument("--waiting-mb", type=int, default=8)
    parser.add_argument("--waiting-s", type=float, default=15.0)
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(dir=".") as home:
        faults = _run(args, home)
    raise SystemExit("\n".join(faults) if faults else 0)


if __name__ == "__main__":
    main()
