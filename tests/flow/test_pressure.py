"""Slow, greedy and broken senders on real sockets: they are hung up on, and everybody else is served as before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from gateway.inbound.mllp import send
from gateway.settings import Limits
from tests.flow.alliance import Alliance
from tests.flow.messages import oru

SLOW = 1000
HALF_A_HEAD = b"GET /health/live HTTP/1.1\r\nHost: a\r\n"
HALF_A_BODY = b"POST /ui/login HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\nx"
WHOLE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alliance]:
    """A gateway with little patience."""
    limits = Limits(header_s=0.6, body_s=0.6, idle_s=0.6, read_s=0.6, waiting=8, body_mb=1, bundle_mb=2)
    made = Alliance(tmp_path_factory.mktemp("strict"), limits=limits)
    yield made
    made.close()


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alliance]:
    """A gateway as it is shipped."""
    made = Alliance(tmp_path_factory.mktemp("patient"))
    yield made
    made.close()


def _line(alliance: Alliance, said: bytes) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", alliance.gateway.http_port), 10)
    line.sendall(said)
    return line


def _all_of(line: socket.socket) -> bytes:
    with line:
        parts = []
        while part := line.recv(65536):
            parts.append(part)
        return b"".join(parts)


def _outcome(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    issue = json.loads(body)["issue"][0]
    return int(head.split()[1]), str(issue["details"]["coding"][0]["code"])


@pytest.mark.parametrize("said", [HALF_A_HEAD, HALF_A_BODY, WHOLE, b""], ids=["head", "body", "kept alive", "silent"])
def test_a_thousand_slow_connections_do_not_hold_up_a_normal_request(patient: Alliance, said: bytes) -> None:
    alone_s = _median_s(patient)
    slow = [_line(patient, said) for _ in range(SLOW)]
    try:
        assert _median_s(patient) < max(0.2, 4 * alone_s)  # the second where the machine itself is slow
    finally:
        for line in slow:
            line.close()


def _median_s(alliance: Alliance) -> float:
    """Seconds a request takes, each on a connection of its own."""
    times = []
    for _ in range(15):
        begun = time.perf_counter()
        assert httpx.get(f"{alliance.url}/health/ready", timeout=10).status_code == 200
        times.append(time.perf_counter() - begun)
    return sorted(times)[len(times) // 2]


def test_whoever_does_nothing_makes_room_when_the_house_is_full(tmp_path: Path) -> None:
    alliance = Alliance(tmp_path, limits=Limits(connections=32, connections_per_address=16))
    try:
        slow = [_line(alliance, HALF_A_HEAD) for _ in range(100)]
        assert httpx.get(f"{alliance.url}/health/live", timeout=5).status_code == 200
        slow[0].settimeout(5)
        assert slow[0].recv(1) == b""
        for line in slow:
            line.close()
    finally:
        alliance.close()


def test_a_slow_head_is_answered_408_and_hung_up_on(strict: Alliance) -> None:
    line = _line(strict, HALF_A_HEAD)
    begun = time.monotonic()
    while time.monotonic() - begun < 0.4:  # dripping does not prolong it
        line.sendall(b"X-A: b\r\n")
        time.sleep(0.05)
    assert _outcome(_all_of(line)) == (408, "GW-INB-008")
    assert time.monotonic() - begun < 3


def test_a_slow_body_is_answered_408_and_hung_up_on(strict: Alliance) -> None:
    begun = time.monotonic()
    assert _outcome(_all_of(_line(strict, HALF_A_BODY))) == (408, "GW-INB-008")
    assert time.monotonic() - begun < 3


def test_a_refused_sender_that_goes_on_with_its_body_is_hung_up_on(strict: Alliance) -> None:
    answer = _all_of(_line(strict, b"POST /fhir HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\nx"))
    assert answer.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("said", [b"", WHOLE])
def test_an_idle_connection_is_closed(strict: Alliance, said: bytes) -> None:
    begun = time.monotonic()
    _all_of(_line(strict, said))
    assert 0.4 < time.monotonic() - begun < 3


def test_a_client_that_does_not_read_its_answers_is_dropped(strict: Alliance) -> None:
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(60)
    line.connect(("127.0.0.1", strict.gateway.http_port))
    ask = b"GET /fhir/metadata HTTP/1.1\r\nHost: a\r\n\r\n"
    with pytest.raises(ConnectionError), line:  # answers pile up until the gateway reads no more, then hangs up
        begun = time.monotonic()
        while time.monotonic() - begun < 60:
            line.sendall(ask * 100)


def test_answers_nobody_fetches_take_up_only_so_much_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.inbound.http_server.UNREAD_BYTES", 300_000)
    alliance = Alliance(tmp_path)  # which would give each of them 30 s
    greedy = [_greedy(alliance) for _ in range(12)]
    lines = alliance.gateway._server._lines  # type: ignore[union-attr]
    try:
        begun = time.monotonic()
        while len(lines._all) in (0, 12) and time.monotonic() - begun < 10:  # none is accepted yet, or none hung up
            time.sleep(0.05)
        assert httpx.get(f"{alliance.url}/health/live", timeout=5).status_code == 200
        time.sleep(1.0)  # two sweeps
        assert 0 < len(lines._all) < 12
        assert sum(line.unread for line in list(lines._all)) <= 300_000
    finally:
        for line in greedy:
            line.close()
        alliance.close()


def _greedy(alliance: Alliance) -> socket.socket:
    """A client with a small window that asks for much and reads nothing."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", alliance.gateway.http_port))
    line.sendall(b"GET /fhir/metadata HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
    return line


def test_bodies_being_received_take_up_only_so_much_in_all(tmp_path: Path) -> None:
    alliance = Alliance(tmp_path, limits=Limits(waiting_mb=1))
    try:
        token = alliance.bearer("admin")["Authorization"]
        head = f"POST /fhir/Basic HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nContent-Type: application/json\r\n"
        text = json.dumps({"resourceType": "Basic", "code": {"text": "x" * 600_000}}).encode()
        said = head.encode() + f"Content-Length: {len(text)}\r\n\r\n".encode()
        first = _line(alliance, said + text[:-1])
        second = _line(alliance, said + text[:-1])
        assert _outcome(_head_and_body(second)) == (429, "GW-INB-023")
        with httpx.Client(base_url=alliance.url, headers=alliance.bearer("admin")) as client:
            assert client.post("/fhir/Basic", json={"resourceType": "Basic", "code": {"text": "x"}}).status_code == 201
            assert client.get("/fhir/Basic?_count=1").status_code == 200
        first.sendall(text[-1:])
        assert first.recv(12) == b"HTTP/1.1 201"
        first.close()
        assert asyncio.run(_create(alliance, 1))[0].status_code == 201
    finally:
        alliance.close()


def _head_and_body(line: socket.socket) -> bytes:
    """One answer of a line that stays open."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += line.recv(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    while len(body) < size:
        body += line.recv(65536)
    line.close()
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400, "GW-INB-020")),
        (b"GET /health/live HTTP/9.9\r\n\r\n", (400, "GW-INB-020")),
        (b"GET /fhir/Patient?name=\xe5\xbc\xa0 x HTTP/1.1\r\n\r\n", (400, "GW-INB-020")),
        (b"GET /health/live HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", (431, "GW-INB-021")),
        (b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", (431, "GW-INB-021")),
        (b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", (431, "GW-INB-021")),
    ],
    ids=["TLS", "version", "url", "long header", "many headers", "long url"],
)
def test_what_the_parser_refuses_is_an_operation_outcome(
    strict: Alliance, said: bytes, refusal: tuple[int, str]
) -> None:
    assert _outcome(_all_of(_line(strict, said))) == refusal


def test_a_head_without_end_is_cut_off(strict: Alliance) -> None:
    line = _line(strict, HALF_A_HEAD)
    answer = b""
    line.settimeout(0.02)
    for _ in range(20):
        try:
            line.sendall(b"X: " + b"y" * 4096)
            answer += line.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
    assert answer.startswith(b"HTTP/1.1 431")


CHUNKED = b"Host: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"


def test_what_follows_a_body_in_chunks_is_no_part_of_the_head(strict: Alliance) -> None:
    token = Alliance.bearer("doctor")["Authorization"].encode()
    search = b"POST /fhir/Patient/_search HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n" + CHUNKED
    end = b"0\r\nAuthorization: %s\r\n\r\n" % token
    assert b" 401 " in _all_of(_line(strict, search + b"\r\n" + end)).partition(b"\r\n")[0]
    with_token = search + b"Authorization: %s\r\n\r\n" % token
    assert b" 200 " in _all_of(_line(strict, with_token + end)).partition(b"\r\n")[0]
    one_by_one = b"".join(b"1\r\n%c\r\n" % byte for byte in b"_id=" + b"a" * 20_000)
    assert b" 200 " in _all_of(_line(strict, with_token + one_by_one + end)).partition(b"\r\n")[0]


@pytest.mark.parametrize("path", ["/fhir/Patient/_search", "/nowhere"])
def test_what_follows_a_body_in_chunks_is_cut_off_like_a_head(strict: Alliance, path: str) -> None:
    token = Alliance.bearer("doctor")["Authorization"].encode()
    head = b"POST %s HTTP/1.1\r\nAuthorization: %s\r\n%s\r\n0\r\nX-A: " % (path.encode(), token, CHUNKED)
    line, sent = _line(strict, head), 0
    with contextlib.suppress(OSError):
        while sent < 4 * 2**20:
            sent += line.send(b"a" * 65536)
    assert sent < 4 * 2**20


def test_bodies_have_the_limit_of_their_kind(strict: Alliance) -> None:
    headers = strict.bearer("admin") | {"content-type": "application/fhir+json"}
    long = b'{"resourceType":"Binary","data":"' + b"A" * 1_500_000 + b'"}'
    entry = b'{"resource":' + long + b',"request":{"method":"POST","url":"Binary"}}'
    bundle = b'{"resourceType":"Bundle","type":"transaction","entry":[' + entry + b"]}"
    alone = strict.client.post("/fhir/Binary", content=long, headers=headers)
    within = strict.client.post("/fhir", content=bundle, headers=headers)
    over = strict.client.post("/fhir", content=bundle + b" " * 1_000_000, headers=headers)
    assert (alone.status_code, within.status_code, over.status_code) == (413, 413, 413)
    assert "entry[0]" in within.text and "entry[0]" not in over.text


@pytest.mark.parametrize("levels", [100, 1000, 100_000])
@pytest.mark.parametrize("kind", ["resource", "transaction", "batch"])
def test_json_that_nests_too_deep_is_refused_with_an_outcome(strict: Alliance, kind: str, levels: int) -> None:
    headers = strict.bearer("admin") | {"content-type": "application/fhir+json"}
    deep = b'{"resourceType":"Basic","code":{"text":"x"},"extension":' + b"[" * levels + b"]" * levels + b"}"
    path, body = "/fhir/Basic", deep
    if kind != "resource":
        path = "/fhir"
        entry = b'{"resource":' + deep + b',"request":{"method":"POST","url":"Basic"}}'
        body = b'{"resourceType":"Bundle","type":"' + kind.encode() + b'","entry":[' + entry + b"]}"
    answer = strict.client.post(path, content=body, headers=headers)
    found = answer.json()
    if answer.status_code == 200:  # a batch answers entry by entry
        found = found["entry"][0]["response"]["outcome"]
    assert answer.status_code in (200, 400) and found["resourceType"] == "OperationOutcome", answer.text


def test_a_resource_of_too_many_nodes_is_refused(strict: Alliance) -> None:
    headers = strict.bearer("admin") | {"content-type": "application/fhir+json"}
    body = b'{"resourceType":"Basic","code":{"text":"x"},"extension":[' + b"{}," * 250_000 + b"{}]}"
    answer = strict.client.post("/fhir/Basic", content=body, headers=headers)
    assert answer.status_code == 413, answer.text


# ---- admission --------------------------------------------------------------------------------
def _organization(number: int) -> bytes:
    return json.dumps({"resourceType": "Organization", "name": f"第{number}医院"}).encode()


async def _create(alliance: Alliance, count: int) -> list[httpx.Response]:
    headers = alliance.bearer("admin") | {"content-type": "application/fhir+json"}
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=alliance.url, headers=headers, limits=limits, timeout=30) as client:
        work = [client.post("/fhir/Organization", content=_organization(number)) for number in range(count)]
        return list(await asyncio.gather(*work))


def test_64_writers_at_once_are_all_admitted(patient: Alliance) -> None:
    answers = asyncio.run(_create(patient, 64))
    assert {one.status_code for one in answers} == {201}


def test_under_pressure_writes_are_told_to_come_back_and_reads_go_on(strict: Alliance) -> None:
    with _writer_held(strict) as let_go:
        answers, read, ack = asyncio.run(_pressed(strict, let_go))
    codes = [one.status_code for one in answers]
    assert set(codes) == {201, 429} and codes.count(201) == 4, codes  # half of 8 places for one caller
    refused = next(one for one in answers if one.status_code == 429)
    assert refused.json()["issue"][0]["code"] == "throttled" and int(refused.headers["retry-after"]) > 0
    assert (read.status_code, b"MSA|AA" in ack) == (200, True)
    assert {one.status_code for one in asyncio.run(_create(strict, 2))} == {201}


@contextlib.contextmanager
def _writer_held(alliance: Alliance) -> Iterator[Callable[[], None]]:
    """The store's writing thread waits for us, as it would for a slow disk."""
    go_on = threading.Event()
    writer = alliance.gateway.store._engine._writer
    held = asyncio.run_coroutine_threadsafe(writer.run(lambda _: go_on.wait(20)), alliance._loop)
    try:
        yield go_on.set  # the writers that were admitted wait for it
    finally:
        go_on.set()
        held.result(10)


async def _pressed(
    alliance: Alliance, let_go: Callable[[], None]
) -> tuple[list[httpx.Response], httpx.Response, bytes]:
    writes = asyncio.create_task(_create(alliance, 16))
    await asyncio.sleep(0.3)
    async with httpx.AsyncClient(base_url=alliance.url, headers=alliance.bearer("admin")) as client:
        read = await client.get("/fhir/Organization?_count=1")
    ack = (await send("127.0.0.1", alliance.gateway.mllp_port, [oru(1, 1)]))[0]
    assert not writes.done()
    let_go()
    return await writes, read, ack
