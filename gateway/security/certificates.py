"""Certificates the doors show: until when they are good, and taken up anew when their files are others.

A certificate is good for a year or for ninety days and ends in the night. Who renews it writes the files; the next
connection after the next look shows the new one, those that are open go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..model.times import Clock

log = logging.getLogger("gateway.certificates")
SOON = timedelta(days=30)
"""How long before its end a certificate is warned of, once a day."""
_LOOK_S = 60.0
_END = "-----END CERTIFICATE-----"
_UTC_TIME, _GENERAL_TIME, _VERSION = 0x17, 0x18, 0xA0


@dataclass(slots=True)
class _Shown:
    """What one door shows. files: certificate, key and the CA of its clients, "" for none; seen: when they changed."""

    door: str
    context: ssl.SSLContext
    files: tuple[str, str, str]
    until: datetime
    seen: tuple[int, ...]
    warned: datetime | None = None


class Certificates:
    """Those of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shown: list[_Shown] = []

    def show(self, door: str, context: ssl.SSLContext, files: tuple[str, str, str]) -> None:
        """A door shows the certificate loaded into this context. Warns of one that ends soon."""
        one = _Shown(door, context, files, until(Path(files[0])), _changed(files))
        self._shown.append(one)
        self._warn(one)

    def until(self) -> dict[str, datetime]:
        """By door, when its certificate ends."""
        return {one.door: one.until for one in self._shown}

    async def run(self) -> None:
        """Look once a minute."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.renew()

    def renew(self) -> None:
        """Take up what is in the files now; what cannot be used is told once, and the old one goes on."""
        for one in self._shown:
            try:
                seen = _changed(one.files)
                if seen != one.seen:
                    one.seen = seen
                    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), one.files)
                    _load(one.context, one.files)
                    one.until, one.warned = until(Path(one.files[0])), None
                    log.warning("%s: 已换用新证书 / a new certificate is shown, good until %s", one.door, one.until)
            except (OSError, ValueError) as fault:  # an SSLError is an OSError
                log.error("%s: 新证书不可用，仍用旧的 / the new certificate cannot be used: %s", one.door, fault)
            self._warn(one)

    def _warn(self, one: _Shown) -> None:
        now = self._clock()
        if one.until - now < SOON and (one.warned is None or now - one.warned >= timedelta(days=1)):
            one.warned = now
            said = "已过期 / has ended" if one.until <= now else "将到期 / ends soon"
            log.warning("%s: 证书%s: %s (%s)", one.door, said, one.until, one.files[0])


def _load(context: ssl.SSLContext, files: tuple[str, str, str]) -> None:
    cert, key, ca = files
    context.load_cert_chain(cert, key)
    if ca:
        context.load_verify_locations(ca)


def _changed(files: tuple[str, str, str]) -> tuple[int, ...]:
    return tuple(os.stat(one).st_mtime_ns for one in files if one)


def until(path: Path) -> datetime:
    """When the first certificate of a PEM file ends. Raises OSError, ValueError. Source: RFC 5280 §4.1."""
    text = path.read_text("ascii", "replace")
    first = text[text.index("-----BEGIN CERTIFICATE-----") : text.index(_END) + len(_END)]
    (_, whole), *_ = _parts(ssl.PEM_cert_to_DER_cert(first))
    (_, body), *_ = _parts(whole)
    fields = [one for one in _parts(body) if one[0] != _VERSION]  # serial, algorithm, issuer, validity, …
    _, (kind, end) = _parts(fields[3][1])
    if kind not in (_UTC_TIME, _GENERAL_TIME):
        raise ValueError(f"a time of kind {kind}")
    format_ = "%y%m%d%H%M%SZ" if kind == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(end.decode("ascii"), format_).replace(tzinfo=UTC)


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of the elements one after the other. Source: X.690 §8.1."""
    at = 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            many = size & 0x7F
            size, at = int.from_bytes(der[at : at + many], "big"), at + many
        yield tag, der[at : at + size]
        at += size
