"""Who asks: tokens, sessions, locks, scopes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from gateway.errors import BadParameter, ConfigError, Forbidden, NotSignedIn
from gateway.model.context import Role
from gateway.model.directory import Alliance, Directory, Member, Term
from gateway.security.access import Access, request_id_of
from gateway.security.guessing import AT_ONE_PLACE, FROM_ADDRESS, OF_STRANGERS
from gateway.security.scopes import Door, standing
from gateway.security.signin import hash_password, set_cookie
from gateway.security.tokens import (
    Credential,
    TokenBook,
    configured,
    credential,
    demo_credentials,
    demo_tokens,
    token_digest,
)
from gateway.settings import Token

MEMBERS = ("city", "county", "township", "stranger")
DIRECTORY = Directory(
    {key: Member(key, key, "primary") for key in MEMBERS},
    {},
    {
        "county": Alliance("county", "县", "county", frozenset({"county", "township"})),
        "city": Alliance("city", "市", "city", frozenset({"city"}), frozenset({"county"})),
    },
)


class Time:
    """A clock the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 20, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def an_access(time: Time, home: Path | None = None) -> Access:
    people = [
        Credential(
            "zhou", "周医生", Role.DOCTOR, "township", digest=token_digest("d" * 40), password=hash_password("好密码 1")
        ),
        Credential("lis", "LIS 厂商", Role.VENDOR, "county", digest=token_digest("v" * 40)),
        Credential("region", "平台", Role.PLATFORM, digest=token_digest("p" * 40)),
    ]
    return Access(TokenBook(people), DIRECTORY, key=b"k" * 32, clock=time, home=home)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_token_becomes_its_owners_context() -> None:
    who = an_access(Time()).of("GET", bearer("d" * 40), "127.0.0.1", "r-1")
    assert (who.user, who.role, who.member, who.purpose, who.request_id) == (
        "zhou",
        Role.DOCTOR,
        "township",
        "TREAT",
        "r-1",
    )


@pytest.mark.parametrize(
    "headers", [{}, bearer(""), bearer("x" * 40), {"authorization": "Basic ZDpk"}, {"cookie": "a=b"}]
)
def test_everybody_else_gets_one_and_the_same_refusal(headers: dict[str, str]) -> None:
    with pytest.raises(NotSignedIn):
        an_access(Time()).of("GET", headers, "127.0.0.1")


def test_a_doctor_reads_the_alliances_of_his_member_and_nobody_elses() -> None:
    who = an_access(Time()).of("GET", bearer("d" * 40), "")
    assert who.members == {"city", "county", "township"}
    assert who.alliance == "city"


def test_a_platform_reads_every_member_and_not_the_audit() -> None:
    who = an_access(Time()).of("GET", bearer("p" * 40), "")
    assert who.members is None and who.may_read("Observation") and not who.may_read("AuditEvent")


def test_an_account_of_an_alliance_reads_that_alliance_alone() -> None:
    reach = [
        standing(Credential("x", "x", role, member, alliance), DIRECTORY, Time().now).members
        for role, member, alliance in ((Role.PLATFORM, "", "county"), (Role.DOCTOR, "city", "county"))
    ]
    assert reach == [{"county", "township"}, {"city", "county", "township"}]


def test_a_doctor_reads_clinical_types_but_not_the_audit_and_writes_nothing() -> None:
    who = an_access(Time()).of("GET", bearer("d" * 40), "")
    assert who.may_read("Observation") and not who.may_read("AuditEvent") and not who.may_write("Observation")


def test_a_vendor_reads_no_patient_and_may_not_pass_the_fhir_door() -> None:
    access = an_access(Time())
    who = access.enter(Door.PUSH, "POST", bearer("v" * 40), "")
    assert not who.may_read("Patient")
    with pytest.raises(Forbidden):
        access.enter(Door.FHIR, "GET", bearer("v" * 40), "")


def test_the_purpose_of_use_is_taken_from_the_header_and_must_be_a_known_one() -> None:
    access = an_access(Time())
    assert access.of("GET", bearer("d" * 40) | {"x-purpose-of-use": "ETREAT"}, "").purpose == "ETREAT"
    with pytest.raises(BadParameter):
        access.of("GET", bearer("d" * 40) | {"x-purpose-of-use": "CURIOSITY"}, "")


def test_a_session_ends_after_fifteen_idle_minutes() -> None:
    time = Time()
    access = an_access(time)
    _, cookie, _ = access.sign_in.with_token("d" * 40, "10.0.0.1")
    headers = {"cookie": f"gateway_session={cookie}"}
    for _ in range(3):
        time.now += timedelta(minutes=14)
        assert access.of("GET", headers, "").user == "zhou"
    time.now += timedelta(minutes=15, seconds=1)
    with pytest.raises(NotSignedIn):
        access.of("GET", headers, "")


def test_a_session_ends_after_eight_hours_however_busy() -> None:
    time = Time()
    access = an_access(time)
    _, cookie, _ = access.sign_in.with_token("d" * 40, "")
    headers = {"cookie": f"gateway_session={cookie}"}
    for _ in range(48):
        time.now += timedelta(minutes=10)
        access.of("GET", headers, "")
    time.now += timedelta(minutes=1)
    with pytest.raises(NotSignedIn):
        access.of("GET", headers, "")


def test_a_cookie_is_worth_nothing_after_sign_out_or_when_forged() -> None:
    access = an_access(Time())
    _, cookie, _ = access.sign_in.with_token("d" * 40, "")
    forged = cookie[:-1] + ("0" if cookie[-1] != "0" else "1")
    for text in (forged, cookie.partition(".")[0]):
        with pytest.raises(NotSignedIn):
            access.of("GET", {"cookie": f"gateway_session={text}"}, "")
    access.sessions.end(cookie)
    with pytest.raises(NotSignedIn):
        access.of("GET", {"cookie": f"gateway_session={cookie}"}, "")


async def test_all_processes_of_a_house_know_its_sessions_and_its_failures(tmp_path: Path) -> None:
    one, other = (an_access(time := Time(), tmp_path), an_access(time, tmp_path))
    session, cookie, _ = one.sign_in.with_token("d" * 40, "")
    headers = {"cookie": f"gateway_session={cookie}"}
    assert other.session(headers).csrf == session.csrf
    other.sessions.end(cookie)
    with pytest.raises(NotSignedIn):
        one.session(headers)
    for number in range(AT_ONE_PLACE.free):
        with pytest.raises(NotSignedIn):
            await (one, other)[number % 2].sign_in.with_password("zhou", "falsch", "10.0.2.1")
    with pytest.raises(NotSignedIn):
        await other.sign_in.with_password("zhou", "好密码 1", "10.0.2.1")
    with pytest.raises(NotSignedIn):
        await other.sign_in.with_password("typed where the name goes" * 999, "", "10.0.3.2")
    assert not any(b"where the name" in file.read_bytes() for file in tmp_path.glob("sessions.db*"))


def test_the_file_of_sessions_gives_nobody_a_session_and_is_its_owners_alone(tmp_path: Path) -> None:
    session, cookie, _ = an_access(Time(), tmp_path).sign_in.with_token("d" * 40, "")
    path = tmp_path / "sessions.db"
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("sessions.db*"))
    assert b"zhou" in kept and session.id.encode() not in kept and cookie.encode() not in kept
    assert path.stat().st_mode & 0o077 == 0


def test_a_session_ends_with_its_account(tmp_path: Path) -> None:
    _, cookie, _ = an_access(Time(), tmp_path).sign_in.with_token("d" * 40, "")
    gone = Access(TokenBook([]), DIRECTORY, key=b"k" * 32, clock=Time(), home=tmp_path)
    with pytest.raises(NotSignedIn):
        gone.session({"cookie": f"gateway_session={cookie}"})


def test_a_changing_request_by_cookie_needs_the_sessions_csrf_token() -> None:
    access = an_access(Time())
    session, cookie, _ = access.sign_in.with_token("d" * 40, "")
    headers = {"cookie": f"gateway_session={cookie}"}
    with pytest.raises(NotSignedIn):
        access.of("POST", headers, "")
    assert access.of("POST", headers | {"x-csrf-token": session.csrf}, "").user == "zhou"


def test_the_cookie_cannot_be_read_by_scripts_nor_sent_by_other_sites() -> None:
    text = set_cookie("abc", secure=True)
    assert "HttpOnly" in text and "SameSite=Lax" in text and "Secure" in text


async def test_a_password_opens_a_session_and_a_wrong_one_says_nothing_about_the_user() -> None:
    access = an_access(Time())
    session, *_ = await access.sign_in.with_password("zhou", "好密码 1", "10.0.0.1")
    assert session.who.user == "zhou"
    answers = set()
    for user, password in (("zhou", "falsch"), ("nobody", "falsch"), ("lis", "")):
        with pytest.raises(NotSignedIn) as refused:
            await access.sign_in.with_password(user, password, f"10.0.1.{len(answers)}")
        answers.add(str(refused.value))
    assert len(answers) == 1


async def failing(access: Access, times: int, *where: str, user: str = "zhou") -> None:
    """So many wrong passwords, one from each of these addresses by turns."""
    for number in range(times):
        with pytest.raises(NotSignedIn):
            await access.sign_in.with_password(user, "falsch", where[number % len(where)])


async def fits(access: Access, address: str, device: str = "", password: str = "好密码 1") -> bool:
    try:
        return bool(await access.sign_in.with_password("zhou", password, address, device))
    except NotSignedIn:
        return False


async def test_five_failures_at_one_place_stop_a_user_there_for_fifteen_minutes() -> None:
    access = an_access(time := Time())
    await failing(access, 5, "10.0.2.1")
    assert not await fits(access, "10.0.2.1"), "also with the right password"
    time.now += timedelta(minutes=14)
    assert not await fits(access, "10.0.2.1"), "and a try meanwhile is not counted"
    time.now += timedelta(minutes=1, seconds=1)
    await failing(access, 4, "10.0.2.1")
    assert await fits(access, "10.0.2.1")
    await failing(access, 4, "10.0.2.1")
    assert await fits(access, "10.0.2.1"), "a success begins anew"


async def test_nobody_locks_a_doctor_out_of_a_browser_of_theirs() -> None:
    access = an_access(time := Time())
    device = (await access.sign_in.with_password("zhou", "好密码 1", "10.0.0.1")).device
    await failing(access, 200, "10.0.0.1", *(f"10.0.9.{number}" for number in range(100)))
    assert not await fits(access, "10.0.0.1") and await fits(access, "10.0.0.1", device)
    assert not await fits(access, "10.0.0.1", device[:-1] + "_"), "one made up is a stranger's"
    for _ in range(AT_ONE_PLACE.free):
        assert not await fits(access, "10.0.0.1", device, "falsch")
    assert not await fits(access, "10.0.0.1", device), "a browser taken over guesses no further than others"
    time.now += timedelta(minutes=15, seconds=1)
    assert await fits(access, "10.0.0.1", device)


async def test_two_doctors_share_a_browser() -> None:
    access = an_access(Time())
    device = (await access.sign_in.with_password("zhou", "好密码 1", "10.0.0.1")).device
    assert access.sign_in.with_token("v" * 40, "10.0.0.1", device).device == device
    await failing(access, 50, *(f"10.0.9.{number}" for number in range(50)))
    assert await fits(access, "10.0.0.1", device)


async def test_strangers_wait_longer_and_longer_for_a_user_and_get_a_hundred_guesses() -> None:
    access = an_access(time := Time())
    guesses, began = 0, time.now
    while time.now - began < timedelta(days=30):
        tried = Attempts(access)
        with pytest.raises(NotSignedIn):
            await access.sign_in.with_password("zhou", "falsch", f"10.{guesses % 250}.{guesses // 250}.1")
        guesses += tried.counted()
        time.now += timedelta(seconds=0 if tried.counted() else 600)
    assert OF_STRANGERS.free + 24 < guesses < OF_STRANGERS.most + 30
    assert [OF_STRANGERS.waiting(n) // timedelta(minutes=1) for n in (9, 10, 11, 15, 16, 99, 100)] == [
        0, 1, 2, 32, 60, 60, 1440,
    ]  # fmt: skip


class Attempts:
    """Whether an attempt counted as a guess at zhou."""

    def __init__(self, access: Access) -> None:
        self._access, self._before = access, self._now(access)

    @staticmethod
    def _now(access: Access) -> int:
        found = access._kept._db.execute("SELECT max(count) FROM failure WHERE key LIKE 'user:%'")
        return int(next(iter(found))[0] or 0)

    def counted(self) -> bool:
        return self._now(self._access) > self._before


async def test_an_address_that_tries_many_names_must_wait_and_others_need_not() -> None:
    access = an_access(Time())
    for number in range(FROM_ADDRESS.free):
        await failing(access, 1, "10.0.0.9", user=f"doctor{number}")
    assert not await fits(access, "10.0.0.9") and await fits(access, "10.0.0.8")


async def test_a_clock_set_back_locks_nobody() -> None:
    access = an_access(time := Time())
    await failing(access, 5, "10.0.0.1")
    time.now -= timedelta(days=1)
    assert await fits(access, "10.0.0.1")


def test_wrong_tokens_make_their_address_wait_and_no_other() -> None:
    access = an_access(Time())
    for _ in range(FROM_ADDRESS.free):
        with pytest.raises(NotSignedIn):
            access.sign_in.with_token("wrong", "10.0.0.9")
    with pytest.raises(NotSignedIn):
        access.sign_in.with_token("d" * 40, "10.0.0.9")
    assert access.sign_in.with_token("d" * 40, "10.0.0.8")


def test_accounts_configured_anew_serve_at_once_and_who_is_gone_is_signed_out() -> None:
    access = an_access(Time())
    _, cookie, _ = access.sign_in.with_token("d" * 40, "")
    headers = {"cookie": f"gateway_session={cookie}"}
    doctor = access.session(headers).who
    changes = access.become(
        [
            doctor,
            Credential("lis", "LIS", Role.MONITOR, digest=token_digest("v" * 40)),
            Credential("new", "新", Role.ADMIN),
        ]
    )
    assert changes == {"lis": "changed", "new": "added", "region": "removed"}
    assert access.of("GET", bearer("v" * 40), "").role is Role.MONITOR and access.session(headers)
    with pytest.raises(NotSignedIn):
        access.of("GET", bearer("p" * 40), "")
    assert access.become([]).keys() == {"lis", "new", "zhou"}
    access.become([doctor])
    with pytest.raises(NotSignedIn):
        access.session(headers)


def test_a_forwarded_address_counts_only_from_a_listed_proxy() -> None:
    access = an_access(Time())
    assert access.address("10.0.0.1", {"x-forwarded-for": "1.2.3.4"}) == "10.0.0.1"
    behind = Access(TokenBook([]), DIRECTORY, key=b"k", clock=Time(), trusted_proxies=frozenset({"10.0.0.1"}))
    assert behind.address("10.0.0.1", {"x-forwarded-for": "9.9.9.9, 1.2.3.4"}) == "1.2.3.4"


def test_a_request_id_with_a_line_break_is_replaced() -> None:
    assert request_id_of({"x-request-id": "abcdefgh-1"}) == "abcdefgh-1"
    assert request_id_of({"x-request-id": "a\r\nSet-Cookie: x"}) != "a\r\nSet-Cookie: x"


def test_demo_tokens_stay_the_same_in_one_home_and_nobody_else_reads_the_file(tmp_path: Path) -> None:
    tokens = demo_tokens(tmp_path / "home")
    assert demo_tokens(tmp_path / "home") == tokens
    assert demo_tokens(tmp_path / "other") != tokens
    assert (tmp_path / "home" / "tokens.json").stat().st_mode & 0o077 == 0
    book = TokenBook(demo_credentials(tokens, doctor_member="township"))
    found = book.by_token(tokens["doctor"])
    assert found is not None and found.role is Role.DOCTOR and found.member == "township"


@pytest.mark.parametrize(
    "entry",
    [
        Token("", "doctor"),
        Token("a", "king"),
        Token("a", "doctor", token_sha256="the-token-itself"),
        Token("a", "doctor", password_scrypt="the-password-itself"),
        Token("a", "doctor", password_scrypt=hash_password("x")[:-4]),
        Token("a", "doctor"),
    ],
)
def test_a_configured_account_that_is_none_stops_the_start(entry: Token) -> None:
    with pytest.raises(ConfigError):
        credential(entry)


def test_two_accounts_of_one_user_or_one_token_stop_the_start() -> None:
    first, second = Token("a", "doctor", token_sha256="1" * 64), Token("b", "admin", token_sha256="2" * 64)
    assert [one.user for one in configured([first, second])] == ["a", "b"]
    assert configured([Token("p", "doctor", password_scrypt=hash_password("x"))])[0].password
    for other in (Token("a", "admin", token_sha256="3" * 64), Token("c", "admin", token_sha256="1" * 64)):
        with pytest.raises(ConfigError):
            configured([first, other])


def test_who_left_an_alliance_reads_its_members_no_more_from_the_next_day_on() -> None:
    county = replace(DIRECTORY.alliances["county"], terms={"township": Term(until=date(2026, 3, 20))})
    time = Time()
    people = [Credential("zhou", "周医生", Role.DOCTOR, "township", digest=token_digest("d" * 40))]
    access = Access(TokenBook(people), Directory(DIRECTORY.members, {}, {"county": county}), key=b"k" * 32, clock=time)
    assert access.of("GET", bearer("d" * 40), "").members == {"county", "township"}
    time.now = datetime(2026, 3, 20, 16, 0, tzinfo=UTC)  # midnight in China
    assert access.of("GET", bearer("d" * 40), "").members == {"township"}
