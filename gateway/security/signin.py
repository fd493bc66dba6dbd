"""Sign-in of people: password or token, cookie, CSRF token (reliability-security T4, T5)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from typing import NamedTuple

from ..errors import NotSignedIn
from .guessing import Attempt, Guessing
from .sessions import Session, Sessions
from .tokens import Credential, TokenBook

COOKIE = "gateway_session"
CSRF_HEADER = "x-csrf-token"


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


class SignedIn(NamedTuple):
    """A session, the value of its cookie, and that of the browser it began in."""

    session: Session
    cookie: str
    device: str


class SignIn:
    """The form's two ways in, both with the same answer to every failure."""

    __slots__ = ("_book", "_guessing", "sessions")

    def __init__(self, book: TokenBook, sessions: Sessions, guessing: Guessing) -> None:
        self._book, self._guessing = book, guessing
        self.sessions = sessions

    def with_token(self, token: str, address: str, device: str = "") -> SignedIn:
        """By a token. Raises NotSignedIn, also while the address must wait."""
        attempt = self._guessing.attempt("", address, device)
        return self._decide(None if self._guessing.waiting(attempt) else self._book.by_token(token), attempt)

    async def with_password(self, user: str, password: str, address: str, device: str = "") -> SignedIn:
        """By user and password. Raises NotSignedIn, never saying which was wrong.

        The password is tried in a thread: it takes the time of hundreds of reads.
        """
        attempt, found = self._guessing.attempt(user, address, device), self._book.by_user(user)
        if self._guessing.waiting(attempt):
            raise _refused()
        fits = await asyncio.to_thread(password_fits, password, found.password if found else "")
        return self._decide(found if fits else None, attempt)

    def _decide(self, found: Credential | None, attempt: Attempt) -> SignedIn:
        if self._guessing.waiting(attempt):  # others may have failed while this password was tried
            raise _refused()
        if found is None:
            self._guessing.failed(attempt)
            raise _refused()
        self._guessing.succeeded(attempt, found.user)
        return SignedIn(*self.sessions.start(found), attempt.device)


def _refused() -> NotSignedIn:
    zh = "信息不正确，或因多次失败须等待。请 15 分钟后再试，或在您平时登录的电脑上登录。"
    return NotSignedIn("sign-in", "wrong, or to wait after failures", detail_zh=zh)


def set_cookie(value: str, *, secure: bool) -> str:
    """The Set-Cookie header of a session."""
    return f"{COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")


def clear_cookie() -> str:
    """The Set-Cookie header that removes it."""
    return f"{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"


def cookie_value(header: str, name: str = COOKIE) -> str:
    """A cookie in a Cookie header, the session's unless another is named; "" when there is none."""
    for part in header.split(";"):
        key, found, value = part.strip().partition("=")
        if found and key == name:
            return value
    return ""


def check_csrf(session: Session, sent: str) -> None:
    """Raises NotSignedIn unless `sent` is the session's token (form field `csrf` or header X-CSRF-Token)."""
    if not hmac.compare_digest(session.csrf.encode(), sent.encode()):
        raise NotSignedIn("csrf", "the form is too old; load the page again", detail_zh="页面已过期，请刷新后重试。")
