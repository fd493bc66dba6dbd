"""Who may open an MLLP line: TLS with a client certificate, or plain from loopback and listed addresses."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import ConfigError
from ..settings import Mllp

_PLAIN = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Line:
    """One connection as the intake sees it: the names of its certificate, common name and SHA-256; none when plain."""

    tls: bool = False
    names: frozenset[str] = _PLAIN

    def may_speak_for(self, certificate: str) -> bool:
        """True when the sender is bound to no certificate and the line is plain, or to the line's own."""
        if not certificate:
            return not self.tls
        return _plain(certificate) in self.names


def _plain(name: str) -> str:
    return name.replace(":", "").strip().casefold()


def line_of(transport: Any) -> Line:
    """What a connection's certificate says; TLS has verified it against the CA already."""
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return Line()
    shown = tls.getpeercert(binary_form=True) or b""
    subject = (tls.getpeercert() or {}).get("subject", ())
    names = {_plain(value) for part in subject for key, value in part if key == "commonName"}
    return Line(True, frozenset(names | {hashlib.sha256(shown).hexdigest()}))


def context(settings: Mllp) -> ssl.SSLContext | None:
    """TLS that asks every sender for a certificate of the CA; None when it is not set up. Raises ConfigError."""
    given = (settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    if not any(given):
        return None
    if not all(given):
        raise ConfigError(
            "mllp.tls_cert",
            "tls_cert, tls_key and tls_client_ca go together",
            detail_zh="tls_cert、tls_key、tls_client_ca 须一起配置。",
        )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_REQUIRED
    try:
        made.load_cert_chain(settings.tls_cert, settings.tls_key)
        made.load_verify_locations(settings.tls_client_ca)
    except (OSError, ssl.SSLError) as fault:
        raise ConfigError("mllp.tls_cert", str(fault), detail_zh=f"证书、私钥或 CA 不可用：{fault}") from fault
    return made


def allowed(address: str, settings: Mllp) -> bool:
    """True for loopback and the addresses of `mllp.allow`."""
    try:
        here = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(here, "ipv4_mapped", None) or here
    return mapped.is_loopback or any(mapped in network for network in networks(settings.allow))


@lru_cache(8)
def networks(allow: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """The networks of a comma-separated list. Raises ConfigError."""
    try:
        return tuple(ipaddress.ip_network(one.strip()) for one in allow.split(",") if one.strip())
    except ValueError as fault:
        raise ConfigError(
            "mllp.allow", str(fault), detail_zh=f"应是逗号分隔的地址或网段，如 10.1.0.0/16：{fault}"
        ) from fault
