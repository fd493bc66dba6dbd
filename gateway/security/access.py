"""From a request's headers to an AccessContext: bearer token first, else the page's session cookie."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from ..errors import NotSignedIn
from ..model.context import AccessContext
from ..model.directory import Directory
from ..model.times import CHINA, Clock
from ..store.sign_ins import SignIns
from .glass import Glass
from .guessing import Guessing
from .scopes import Door, allow, for_request, standing
from .sessions import Session, Sessions
from .signin import CSRF_HEADER, SignIn, check_csrf, cookie_value
from .tokens import Credential, TokenBook

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{8,64}")
_PROCESS = secrets.token_hex(8)
_requests = itertools.count(1)


class Access:
    """Knows everybody who may ask. One per process; sessions are shared by all of a house."""

    __slots__ = (
        "_book", "_clock", "_day", "_directory", "_kept", "_known", "_standing", "glass", "sessions", "sign_in",
        "trusted_proxies",
    )  # fmt: skip

    def __init__(
        self,
        book: TokenBook,
        directory: Directory,
        *,
        key: bytes,
        clock: Clock,
        home: Path | None = None,
        trusted_proxies: frozenset[str] = frozenset(),
    ) -> None:
        """home: where the house keeps its sessions; None: they are this process's own."""
        self._book = book
        self._directory = directory
        self._standing: dict[str, AccessContext] = {}
        self._known = directory.alliances
        self._clock, self._day = clock, date.min
        self.trusted_proxies = trusted_proxies
        self._kept = SignIns(home)
        self.sessions = Sessions(self._kept, book, key, clock)
        self.glass = Glass(self._kept, clock)
        self.sign_in = SignIn(book, self.sessions, Guessing(self._kept, clock))

    def become(self, credentials: Iterable[Credential]) -> dict[str, str]:
        """These accounts and no others from the next request on; who is gone or another is signed out.

        What became of whom: `added`, `removed` or `changed`.
        """
        changes = self._book.become(credentials)
        self._standing.clear()
        self.sessions.end_of(changes)
        return changes

    def close(self) -> None:
        """Let go of the sessions' file; they live on."""
        self._kept.close()

    def of(self, method: str, headers: Mapping[str, str], address: str, request_id: str = "") -> AccessContext:
        """The caller. Header names are lower case. Raises NotSignedIn.

        A cookie travels with requests the user never meant, so a changing request by cookie must also
        carry the session's CSRF token; a bearer token needs none.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme:
            found = self._book.by_token(token.strip()) if scheme.lower() == "bearer" else None
            if found is None:
                raise NotSignedIn("Authorization")
            return self.context(found, headers, address, request_id)
        session = self.session(headers)
        if method not in _SAFE_METHODS:
            check_csrf(session, headers.get(CSRF_HEADER, ""))
        return self.context(session.who, headers, address, request_id)

    def enter(
        self, door: Door, method: str, headers: Mapping[str, str], address: str, request_id: str = ""
    ) -> AccessContext:
        """`of`, and the role may pass this door. Raises NotSignedIn, Forbidden."""
        return allow(self.of(method, headers, address, request_id), door)

    def session(self, headers: Mapping[str, str]) -> Session:
        """The page session of the request's cookie. Raises NotSignedIn."""
        found = self.sessions.find(cookie_value(headers.get("cookie", "")))
        if found is None:
            raise NotSignedIn()
        return found

    def context(
        self, found: Credential, headers: Mapping[str, str], address: str, request_id: str = ""
    ) -> AccessContext:
        """The context of a known credential; purpose of use from `X-Purpose-Of-Use`."""
        now = self._clock()
        day = now.astimezone(CHINA).date()  # terms of alliances begin and end with one
        if day != self._day or self._known is not self._directory.alliances:  # it has become another
            self._day, self._known = day, self._directory.alliances
            self._standing.clear()
        known = self._standing.get(found.user)
        if known is None:
            known = self._standing[found.user] = standing(found, self._directory, now)
        return for_request(
            known,
            purpose=headers.get("x-purpose-of-use", ""),
            client=headers.get("user-agent", "")[:120],
            address=address,
            request_id=request_id,
        )

    def address(self, peer: str, headers: Mapping[str, str]) -> str:
        """Where the request comes from; `X-Forwarded-For` counts only when a listed proxy sends it."""
        forwarded = headers.get("x-forwarded-for", "")
        if forwarded and peer in self.trusted_proxies:
            return forwarded.rpartition(",")[2].strip()[:64]
        return peer


def request_id_of(headers: Mapping[str, str]) -> str:
    """The client's X-Request-Id when it is harmless, else a fresh one."""
    sent = headers.get("x-request-id", "")
    return sent if sent and _REQUEST_ID.fullmatch(sent) else f"{_PROCESS}{next(_requests):08x}"
