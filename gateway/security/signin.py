"""Sign-in of people: session, cookie, CSRF token, lock after failures (reliability-security T4, T5).

Sessions live in memory: a restart signs everybody out, which is what a shared ward computer wants.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..errors import NotSignedIn
from ..model.times import Clock
from .tokens import Credential, TokenBook

COOKIE = "gateway_session"
CSRF_HEADER = "x-csrf-token"
IDLE = timedelta(minutes=15)
ABSOLUTE = timedelta(hours=8)
LOCK_AFTER = 5
LOCK_FOR = timedelta(minutes=15)
_MAX_WATCHED = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser. `csrf` goes into every form and into the header of scripted requests."""

    id: str
    who: Credential
    csrf: str
    started_at: datetime
    used_at: datetime


def hash_password(password: str) -> str:
    """`scrypt$<salt>$<hash>` for the configuration file."""
    salt = secrets.token_bytes(16)
    return "scrypt$" + "$".join(base64.b64encode(part).decode() for part in (salt, _scrypt(password, salt)))


def password_fits(password: str, kept: str) -> bool:
    """True when the password is the one `kept` was made of. Costs the same for an account without password."""
    parts = (kept or _NOBODY).split("$")
    salt, expected = base64.b64decode(parts[1]), base64.b64decode(parts[2])
    return hmac.compare_digest(_scrypt(password, salt), expected) and bool(kept)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=32)


_NOBODY = hash_password(secrets.token_hex(16))


class FailureLock:
    """Counts failures by key (user, address); a key with five in a row waits 15 minutes."""

    __slots__ = ("_clock", "_failures")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, datetime]] = {}

    def locked(self, *keys: str) -> bool:
        """True while any of the keys has to wait."""
        now = self._clock()
        return any(count >= LOCK_AFTER and now - at < LOCK_FOR for count, at in self._known(keys))

    def failed(self, *keys: str) -> None:
        """Count one failure for each key."""
        now = self._clock()
        if len(self._failures) >= _MAX_WATCHED:
            self._failures = {key: (n, at) for key, (n, at) in self._failures.items() if now - at < LOCK_FOR}
        for key in keys:
            count, at = self._failures.get(key, (0, now))
            self._failures[key] = (1 if now - at >= LOCK_FOR else count + 1, now)

    def succeeded(self, *keys: str) -> None:
        """Forget the failures of these keys."""
        for key in keys:
            self._failures.pop(key, None)

    def _known(self, keys: tuple[str, ...]) -> list[tuple[int, datetime]]:
        return [self._failures[key] for key in keys if key in self._failures]


class Sessions:
    """All browsers signed in to this process."""

    __slots__ = ("_clock", "_key", "_live")

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = hashlib.blake2b(b"session-cookie", key=key[:64]).digest()
        self._clock = clock
        self._live: dict[str, Session] = {}

    def start(self, who: Credential) -> tuple[Session, str]:
        """A new session and the value of its cookie."""
        now = self._clock()
        self._drop_old(now)
        session = Session(secrets.token_urlsafe(32), who, secrets.token_urlsafe(32), now, now)
        self._live[session.id] = session
        return session, f"{session.id}.{self._signature(session.id)}"

    def find(self, cookie: str) -> Session | None:
        """The session of this cookie, its idle time started anew; None when unknown, forged or too old."""
        id_, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(id_).encode()):
            return None
        session, now = self._live.get(id_), self._clock()
        if session is None or _too_old(session, now):
            self._live.pop(id_, None)
            return None
        used = replace(session, used_at=now)
        self._live[id_] = used
        return used

    def end(self, cookie: str) -> None:
        """Sign out: the cookie is worth nothing from now on."""
        if self.find(cookie) is not None:
            self._live.pop(cookie.partition(".")[0], None)

    def _signature(self, id_: str) -> str:
        return hmac.new(self._key, id_.encode(), hashlib.sha256).hexdigest()

    def _drop_old(self, now: datetime) -> None:
        for id_ in [id_ for id_, session in self._live.items() if _too_old(session, now)]:
            del self._live[id_]


def _too_old(session: Session, now: datetime) -> bool:
    return now - session.used_at > IDLE or now - session.started_at > ABSOLUTE


class SignIn:
    """The form's two ways in, both with the same answer to every failure."""

    __slots__ = ("_book", "_lock", "sessions")

    def __init__(self, book: TokenBook, sessions: Sessions, clock: Clock) -> None:
        self._book = book
        self._lock = FailureLock(clock)
        self.sessions = sessions

    def with_token(self, token: str, address: str) -> tuple[Session, str]:
        """Session and cookie for a token. Raises NotSignedIn, also while the address is locked."""
        keys = (f"address:{address}",)
        return self._decide(self._book.by_token(token), keys)

    def with_password(self, user: str, password: str, address: str) -> tuple[Session, str]:
        """Session and cookie for user and password. Raises NotSignedIn, never saying which was wrong."""
        found = self._book.by_user(user)
        fits = password_fits(password, found.password if found else "")
        return self._decide(found if fits else None, (f"user:{user}", f"address:{address}"))

    def _decide(self, found: Credential | None, keys: tuple[str, ...]) -> tuple[Session, str]:
        if found is None or self._lock.locked(*keys):
            self._lock.failed(*keys)
            raise NotSignedIn(
                "sign-in", "wrong or locked for 15 minutes", detail_zh="信息不正确，或因多次失败锁定 15 分钟。"
            )
        self._lock.succeeded(*keys)
        return self.sessions.start(found)


def set_cookie(value: str, *, secure: bool) -> str:
    """The Set-Cookie header of a session."""
    return f"{COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")


def clear_cookie() -> str:
    """The Set-Cookie header that removes it."""
    return f"{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"


def cookie_value(header: str) -> str:
    """The session cookie in a Cookie header, "" when there is none."""
    for part in header.split(";"):
        key, found, value = part.strip().partition("=")
        if found and key == COOKIE:
            return value
    return ""


def check_csrf(session: Session, sent: str) -> None:
    """Raises NotSignedIn unless `sent` is the session's token (form field `csrf` or header X-CSRF-Token)."""
    if not hmac.compare_digest(session.csrf.encode(), sent.encode()):
        raise NotSignedIn("csrf", "the form is too old; load the page again", detail_zh="页面已过期，请刷新后重试。")
