"""Sessions of signed-in browsers (reliability-security T4).

Of a session only the hash of its id is kept, so that who reads the file cannot take one over.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..model.times import Clock
from ..store.sign_ins import SignIns
from .tokens import Credential, TokenBook

IDLE = timedelta(minutes=15)
ABSOLUTE = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in browser. `csrf` goes into every form and into the header of scripted requests."""

    id: str
    who: Credential
    csrf: str
    started_at: datetime
    used_at: datetime


class Sessions:
    """All browsers signed in to this house. A session is its user's: it ends when the account does."""

    __slots__ = ("_book", "_clock", "_kept", "_key")

    def __init__(self, kept: SignIns, book: TokenBook, key: bytes, clock: Clock) -> None:
        self._kept, self._book, self._clock = kept, book, clock
        self._key = hashlib.blake2b(b"session-cookie", key=key[:64]).digest()

    def start(self, who: Credential) -> tuple[Session, str]:
        """A new session and the value of its cookie. Raises StorageFull."""
        now = self._clock()
        session = Session(secrets.token_urlsafe(32), who, secrets.token_urlsafe(32), now, now)
        self._kept.add(_hidden(session.id), who.user, session.csrf, now.timestamp(), _oldest(now))
        return session, f"{session.id}.{self._signature(session.id)}"

    def find(self, cookie: str) -> Session | None:
        """The session of this cookie, its idle time started anew; None when unknown, forged or too old."""
        id_, _, signature = cookie.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(id_).encode()):
            return None
        now = self._clock()
        found = self._kept.use(_hidden(id_), now.timestamp(), _oldest(now))
        who = self._book.by_user(found[0]) if found else None
        return Session(id_, who, found[1], datetime.fromtimestamp(found[2], UTC), now) if found and who else None

    def end(self, cookie: str) -> None:
        """Sign out: the cookie is worth nothing from now on."""
        self._kept.drop(_hidden(cookie.partition(".")[0]))

    def end_of(self, users: Iterable[str]) -> None:
        """Sign these users out everywhere."""
        self._kept.drop_of(users)

    def _signature(self, id_: str) -> str:
        return hmac.new(self._key, id_.encode(), hashlib.sha256).hexdigest()


def _hidden(id_: str) -> bytes:
    return hashlib.sha256(id_.encode()).digest()


def _oldest(now: datetime) -> tuple[float, float]:
    """Instants of the last use and of the start from which a session still lives."""
    return (now - IDLE).timestamp(), (now - ABSOLUTE).timestamp()
