"""Who may open a line of MLLP or DICOM: TLS with a client certificate, or plain from loopback and listed addresses."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import ConfigError, TlsFailed
from ..security.certificates import Certificates
from ..settings import Dicom, Mllp

_PLAIN = frozenset[str]()
HANDSHAKE_S = 10.0
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
_LOOPBACK: Networks = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


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


Refused = Callable[[TlsFailed], None]
"""Is told of a handshake that failed; whose it was, TLS does not say."""


class _Handshake(ssl.SSLObject):
    """The event loop drops a connection whose handshake fails without a word; an engineer needs the reason."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as fault:
            if isinstance(self.context, _Context):
                self.context.refused(_failed(fault))
            raise


class _Context(ssl.SSLContext):
    refused: Refused
    sslobject_class = _Handshake


_WHY = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "对方没有出示客户端证书。",
    "CERTIFICATE_VERIFY_FAILED": "对方的证书不是 tls_client_ca 签发的，或不在有效期内。",
    "WRONG_VERSION_NUMBER": "对方没有用 TLS。",
    "HTTP_REQUEST": "对方发来的是 HTTP，没有用 TLS。",
    "UNSUPPORTED_PROTOCOL": "对方的 TLS 版本低于 1.2。",
    "NO_SHARED_CIPHER": "没有双方都支持的加密套件。",
    "TLSV1_ALERT_UNKNOWN_CA": "对方不信任网关证书的签发者。",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "对方不接受网关的证书。",
    "SSLV3_ALERT_BAD_CERTIFICATE": "对方不接受网关的证书。",
}


def _failed(fault: ssl.SSLError) -> TlsFailed:
    reason = str(fault.reason or "")
    return TlsFailed(reason, getattr(fault, "verify_message", "") or "", detail_zh=_WHY.get(reason, ""))


def context(settings: Mllp | Dicom, refused: Refused) -> ssl.SSLContext | None:
    """TLS that asks every sender for a certificate of the CA; None when it is not set up. Raises ConfigError."""
    given = (settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    if not any(given):
        return None
    key = f"{_group(settings)}.tls_cert"
    if not all(given):
        raise ConfigError(
            key,
            "tls_cert, tls_key and tls_client_ca go together",
            detail_zh="tls_cert、tls_key、tls_client_ca 须一起配置。",
        )
    made = _Context(ssl.PROTOCOL_TLS_SERVER)
    made.refused = refused
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_REQUIRED
    try:
        made.load_cert_chain(settings.tls_cert, settings.tls_key)
        made.load_verify_locations(settings.tls_client_ca)
    except (OSError, ssl.SSLError) as fault:
        raise ConfigError(key, str(fault), detail_zh=f"证书、私钥或 CA 不可用：{fault}") from fault
    return made


def allowed(address: str, settings: Mllp | Dicom) -> bool:
    """True for loopback and the addresses of the door's `allow`."""
    given = networks(settings.allow, f"{_group(settings)}.allow")
    return among(address, given) or among(address, _LOOPBACK)


def among(address: str, listed: Networks) -> bool:
    """True when the address lies in one of the networks."""
    try:
        here = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(here, "ipv4_mapped", None) or here
    return any(mapped in network for network in listed)


@lru_cache(64)
def networks(listed: str, key: str) -> Networks:
    """The networks of a comma-separated list. Raises ConfigError at this key."""
    try:
        return tuple(ipaddress.ip_network(one.strip()) for one in listed.split(",") if one.strip())
    except ValueError as fault:
        zh = f"应是逗号分隔的地址或网段，如 10.1.0.0/16：{fault}"
        raise ConfigError(key, str(fault), detail_zh=zh) from fault


def _group(settings: Mllp | Dicom) -> str:
    return type(settings).__name__.lower()


def cannot_listen(key: str, host: str, port: int, fault: OSError) -> ConfigError:
    """The error for an address nobody can be heard at; key: the setting of its port."""
    return ConfigError(
        f"{key} {port}",
        f"{host}:{port}: {fault.strerror}",
        detail_zh=f"不能监听 {host}:{port}，多为端口已被占用：{fault.strerror}",
    )


async def listen(
    made: Callable[[], asyncio.Protocol],
    settings: Mllp | Dicom,
    at: tuple[str, int],
    *,
    listener: socket.socket | None,
    refused: Refused,
    certificates: Certificates | None,
) -> asyncio.Server:
    """Listening at (host, port), or on a socket several processes share, bound already. Raises ConfigError.

    certificates: told of the one shown here.
    """
    key = _group(settings)
    networks(settings.allow, f"{key}.allow")
    tls = context(settings, refused)
    if tls is not None and certificates is not None:
        certificates.show(key, tls, (settings.tls_cert, settings.tls_key, settings.tls_client_ca))
    rest: dict[str, Any] = {"backlog": 1024, "ssl": tls, "ssl_handshake_timeout": HANDSHAKE_S if tls else None}
    loop = asyncio.get_running_loop()
    try:
        if listener is not None:
            return await loop.create_server(made, sock=listener, **rest)
        return await loop.create_server(made, *at, **rest)
    except OSError as fault:
        raise cannot_listen(f"{key}.port", *at, fault) from fault
