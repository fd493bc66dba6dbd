"""Sign-in of people: password or token, cookie, CSRF token, lock after failures (reliability-security T4, T5)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets

from ..errors import NotSignedIn
from .sessions import FailureLock, Session, Sessions
from .tokens import Credential, TokenBook, token_digest

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


class SignIn:
    """The form's two ways in, both with the same answer to every failure."""

    __slots__ = ("_book", "_lock", "sessions")

    def __init__(self, book: TokenBook, sessions: Sessions, lock: FailureLock) -> None:
        self._book = book
        self._lock = lock
        self.sessions = sessions

    def with_token(self, token: str, address: str) -> tuple[Session, str]:
        """Session and cookie for a token. Raises NotSignedIn, also while the address is locked."""
        keys = (f"address:{address}",)
        return self._decide(self._book.by_token(token), keys)

    async def with_password(self, user: str, password: str, address: str) -> tuple[Session, str]:
        """Session and cookie for user and password. Raises NotSignedIn, never saying which was wrong.

        The password is tried in a thread: it takes the time of hundreds of reads.
        """
        keys = (f"user:{token_digest(user)}", f"address:{address}")  # what is typed there may be long, or a password
        found = self._book.by_user(user)
        fits = not self._lock.locked(*keys) and await asyncio.to_thread(
            password_fits, password, found.password if found else ""
        )
        return self._decide(found if fits else None, keys)

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
