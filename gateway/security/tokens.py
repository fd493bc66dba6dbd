"""Who holds which token. Only hashes are kept; a token is compared in constant time.

A token here is a long random text (256 bits), so a plain hash is enough: there is nothing to guess
offline. Passwords are another matter, see `signin.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..model.context import Role
from ..settings import Token

_HASH = re.compile(r"[0-9a-fA-F]{64}")
_SCRYPT = re.compile(r"scrypt\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True, slots=True)
class Credential:
    """One account or machine. `digest` is the SHA-256 of its token in hex, "" when it has none.

    password: scrypt text as `signin.hash_password` makes it, "" when the account cannot sign in by password.
    members: member keys whose rows it may read; None = by its own member's alliances.
    """

    user: str
    display: str
    role: Role
    member: str = ""
    alliance: str = ""
    digest: str = ""
    password: str = ""
    members: frozenset[str] | None = None


def token_digest(token: str) -> str:
    """SHA-256 in hex, the only form in which a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def configured(entries: Iterable[Token]) -> list[Credential]:
    """The configured accounts. Raises ConfigError, also for two of one user or one token: the later would win."""
    found = [credential(one) for one in entries]
    users, digests = [one.user for one in found], [one.digest for one in found]
    for one in found:
        if users.count(one.user) > 1:
            raise ConfigError(f"token.{one.user}", "two accounts of this user", detail_zh="这个 user 写了两次。")
        if one.digest and digests.count(one.digest) > 1:
            raise ConfigError(
                f"token.{one.user}.token_sha256", "another account has this token", detail_zh="与另一账号的令牌相同。"
            )
    return found


def credential(entry: Token) -> Credential:
    """A credential from one configured account.

    Raises ConfigError for an unknown role, a missing user, no way in and a hash that is none.
    """
    place = f"token.{entry.user or '?'}"
    if not entry.user:
        raise ConfigError(place, "user is missing", detail_zh="缺少 user")
    if entry.role not in {role.value for role in Role}:
        raise ConfigError(
            f"{place}.role",
            f"one of {', '.join(Role)}",
            detail_zh=f"只能是 {'、'.join(Role)}。",
        )
    if entry.token_sha256 and not _HASH.fullmatch(entry.token_sha256):
        raise ConfigError(
            f"{place}.token_sha256",
            "64 hexadecimal digits, never the token itself",
            detail_zh="应是 64 位十六进制的散列，不能是令牌本身。",
        )
    if entry.password_scrypt and not _SCRYPT.fullmatch(entry.password_scrypt):
        raise ConfigError(
            f"{place}.password_scrypt",
            "not what hash_password prints, never the password itself",
            detail_zh="应是 hash_password 打印的一行，不能是口令本身。",
        )
    if not entry.token_sha256 and not entry.password_scrypt:
        raise ConfigError(
            place, "token_sha256 or password_scrypt is needed", detail_zh="须有 token_sha256 或 password_scrypt。"
        )
    return Credential(
        user=entry.user,
        display=entry.display or entry.user,
        role=Role(entry.role),
        member=entry.member,
        alliance=entry.alliance,
        digest=entry.token_sha256.lower(),
        password=entry.password_scrypt,
    )


class TokenBook:
    """All credentials of this gateway, as they are configured now."""

    __slots__ = ("_by_digest", "_by_user")

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._by_user: dict[str, Credential] = {}
        self._by_digest: dict[str, Credential] = {}
        self.become(credentials)

    def become(self, credentials: Iterable[Credential]) -> dict[str, str]:
        """Know these from now on, and nobody else: what became of whom, `added`, `removed` or `changed`."""
        before, now = self._by_user, {one.user: one for one in credentials}
        self._by_user, self._by_digest = now, {one.digest: one for one in now.values() if one.digest}
        changes = dict.fromkeys(before.keys() - now.keys(), "removed")
        changes |= dict.fromkeys(now.keys() - before.keys(), "added")
        changes |= {user: "changed" for user in now.keys() & before.keys() if now[user] != before[user]}
        return dict(sorted(changes.items()))

    def by_token(self, token: str) -> Credential | None:
        """Whose token this is, or None.

        The lookup is on the hash, which a caller cannot steer, so its timing says nothing about a
        stored token; the comparison of what was found is constant in time as well.
        """
        digest = token_digest(token)
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            return None
        return found

    def by_user(self, user: str) -> Credential | None:
        """The account of that name."""
        return self._by_user.get(user)


def demo_tokens(home: Path) -> dict[str, str]:
    """Tokens of the roles for the demo in `home`: random at the first start, the same afterwards.

    Kept in `home/tokens.json`, readable by its owner alone.
    """
    path = home / "tokens.json"
    if path.exists():
        kept: dict[str, str] = json.loads(path.read_text())
        if kept.keys() >= {role.value for role in Role}:
            return kept
    tokens = {role.value: f"{role.value}-{secrets.token_urlsafe(32)}" for role in Role}
    home.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(tokens, file)
    return tokens


def demo_credentials(tokens: Mapping[str, str], *, doctor_member: str, platform_member: str = "") -> list[Credential]:
    """The accounts of the demo, one a role; the doctor works at `doctor_member`."""
    names = {
        "doctor": "演示医生",
        "vendor": "演示厂商",
        "platform": "区域平台",
        "admin": "演示管理员",
        "monitor": "演示监控",
    }
    members = {"doctor": doctor_member, "platform": platform_member}
    return [
        Credential(
            user=f"demo-{role}",
            display=names[role],
            role=Role(role),
            member=members.get(role, ""),
            digest=token_digest(token),
        )
        for role, token in tokens.items()
    ]
