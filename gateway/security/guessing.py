"""Waits after failed sign-ins: who guesses waits longer and longer, and cannot lock out those who do not.

A lock on a user alone lets anybody who knows the doctors' names lock them all out (OWASP Authentication Cheat Sheet,
"Account Lockout"). So a browser in which a user signed in before counts for itself, by a cookie (OWASP, "Slow Down
Online Guessing Attacks with Device Cookies"); of all others the failures of a user, of an address, and of both
together are counted. Strangers get no more than 100 guesses at a user before each further one takes a day (NIST SP
800-63B 5.2.2), and five wrong passwords at one place stop it for fifteen minutes (GB/T 22239-2019 8.1.4.1).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from ..model.times import Clock
from ..store.sign_ins import SignIns

DEVICE_COOKIE = "gateway_device"
DEVICE_LIFE = timedelta(days=365)
_QUARTER, _HOUR, _DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Limit:
    """free: failures without a wait. wait: after the next one, twice as long after each further one up to `longest`.

    memory: how long failures count when none follows. most: failures after which each takes a day.
    """

    free: int
    wait: timedelta
    longest: timedelta
    memory: timedelta
    most: int = 1 << 30

    def waiting(self, count: int) -> timedelta:
        """How long after the last of so many failures nobody may try."""
        if count < self.free:
            return timedelta()
        doubled = self.wait * 2 ** min(count - self.free, 16)
        return _DAY if count >= self.most else min(doubled, self.longest)


AT_ONE_PLACE = Limit(5, _QUARTER, _QUARTER, _QUARTER)
OF_STRANGERS = Limit(10, timedelta(minutes=1), _HOUR, 30 * _DAY, most=100)
FROM_ADDRESS = Limit(30, timedelta(minutes=1), _QUARTER, _HOUR)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who says to be whom, and where: what is counted together, and by which limit."""

    counted: tuple[tuple[str, Limit], ...]
    device: str


class Guessing:
    """Counts failures; all processes of a house count together."""

    __slots__ = ("_clock", "_kept")

    def __init__(self, kept: SignIns, clock: Clock) -> None:
        self._kept, self._clock = kept, clock

    def attempt(self, user: str, address: str, cookie: str) -> Attempt:
        """user: as typed, or "" for a token. cookie: of the device, "" when it has none."""
        device = cookie if 20 <= len(cookie) <= 64 else secrets.token_urlsafe(24)
        known = _key("device", user, device)
        if self._kept.familiar(known, (self._clock() - DEVICE_LIFE).timestamp()):
            return Attempt(((known, AT_ONE_PLACE),), device)
        counted = [(_key("address", address), FROM_ADDRESS)]
        if user:
            counted += [(_key("place", user, address), AT_ONE_PLACE), (_key("user", user), OF_STRANGERS)]
        return Attempt(tuple(counted), device)

    def waiting(self, attempt: Attempt) -> bool:
        """Whether it is too early for this attempt. Of failures in the future (a clock set back) none is known."""
        now = self._clock()
        for key, limit in attempt.counted:
            count, at = self._kept.failures(key, (now - limit.memory).timestamp())
            if 0 <= now.timestamp() - at < limit.waiting(count).total_seconds():
                return True
        return False

    def failed(self, attempt: Attempt) -> None:
        """One failure more. What is not tried since it must wait does not count: a wait has an end."""
        now = self._clock()
        for key, limit in attempt.counted:
            self._kept.failed(key, now.timestamp(), (now - limit.memory).timestamp())
        self._kept.forget((now - OF_STRANGERS.memory).timestamp(), (now - DEVICE_LIFE).timestamp())

    def succeeded(self, attempt: Attempt, user: str) -> None:
        """From now on this browser is one of the user's; what strangers failed at there is forgiven.

        Not what an address failed at with others, nor strangers elsewhere when the user came from a device of theirs.
        """
        self._kept.forgive([key for key, limit in attempt.counted if limit is not FROM_ADDRESS])
        self._kept.remember(_key("device", user, attempt.device), self._clock().timestamp())


def _key(kind: str, *parts: str) -> str:
    """Hashed: what is typed where the name goes may be long, or a password."""
    return f"{kind}:{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}"


def device_cookie(device: str, *, secure: bool) -> str:
    """The Set-Cookie header by which a browser is known again; it opens nothing."""
    life = int(DEVICE_LIFE.total_seconds())
    return f"{DEVICE_COOKIE}={device}; Path=/ui; Max-Age={life}; HttpOnly; SameSite=Lax" + (
        "; Secure" if secure else ""
    )
