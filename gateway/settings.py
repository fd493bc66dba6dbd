"""The settings themselves, as the parts are given them. `config.py` fills them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class General:
    """home: folder of the embedded store, inbox and audit log. rules: name of the recognition sheet.

    mappings, profiles: the operator's own folders; what is in them wins over what is shipped.
    shadow: how many of the newest kept messages new mappings are tried on before they serve.
    """

    home: str = "gateway-home"
    rules: str = "990101-2026"
    mappings: str = ""
    profiles: str = ""
    shadow: int = 200


@dataclass(frozen=True, slots=True)
class Http:
    """Where HTTP listens. Any address but loopback needs `tls_cert` and `tls_key`.

    cors_origins: origins whose pages may call `/fhir` from a browser, e.g. `https://his.example`; none by default.
    proxies: addresses of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto count.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: str = ""
    tls_key: str = ""
    cors_origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fhir:
    """conditional_delete: how many resources one conditional delete may meet; above it the answer is 412.

    preparing: processes that check and index large Bundles, and what messages make, beside the one that serves; 0 = it
    does so itself. reading: processes that searches which come together are shared with, on SQLite; 0 = none.
    """

    conditional_delete: int = 1
    preparing: int = 1
    reading: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What HTTP senders may do. Seconds, megabytes (2**20 bytes) and counts, all above zero.

    header_s, body_s: for a request to arrive (a body that keeps coming at 256 KB/s may take longer). idle_s: between
    two requests. read_s: for 64 KB of an answer to be taken. bundle_mb: body of `POST /fhir`; body_mb: any other body
    and each resource of a bundle. waiting: writes received and not yet answered; waiting_mb: their bodies.
    """

    header_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 75.0
    read_s: float = 30.0
    connections: int = 4096
    connections_per_address: int = 1024
    bundle_mb: int = 100
    body_mb: int = 16
    waiting: int = 256
    waiting_mb: int = 512


@dataclass(frozen=True, slots=True)
class Mllp:
    """Where MLLP listens; port 0 takes a free one, -1 switches it off. Plain on loopback, or for addresses in `allow`.

    tls_cert, tls_key, tls_client_ca: TLS in which every sender shows a certificate of this CA; a source names its own
    as `certificate` in its settings. allow: addresses or networks that may speak without TLS, separated by commas.
    rate: frames a second on one line. frame_mb: largest frame (2**20 bytes).
    """

    host: str = "127.0.0.1"
    port: int = 2575
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    allow: str = ""
    connections: int = 1024
    connections_per_address: int = 256
    idle_s: float = 300.0
    frame_s: float = 30.0
    rate: int = 5000
    frame_mb: int = 16


@dataclass(frozen=True, slots=True)
class Dicom:
    """Where DICOM associations are accepted; port 0 takes a free one, -1 (the default) switches it off.

    ae_title: what senders call, where their source names no `called_ae` of its own. tls_*, allow, connections: as for
    MLLP. idle_s: of an association without a message. message_s: for a message to arrive (one that keeps coming at
    256 KB/s may take longer). sop_classes: private storage classes to take besides the standard ones, by UID.
    """

    host: str = "127.0.0.1"
    port: int = -1
    ae_title: str = "GATEWAY"
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    allow: str = ""
    connections: int = 64
    connections_per_address: int = 16
    idle_s: float = 120.0
    message_s: float = 60.0
    sop_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inbox:
    """attempts: a message that was at work when the process died so many times is quarantined; at least 2.

    retry_s: how long a message is tried again after a passing fault of its own, then it is quarantined with this fault.
    waiting_mb, waiting_s: of messages without an outcome, bytes of all and age of the oldest, above which the doors
    ask senders to come again. 0 seconds: any age.
    gather_s: how long images wait for more of their study, so that all make one version of it; 0 = not at all.
    replay_days: originals younger than this are kept whatever `[[keep]]` says, so that they can be replayed.
    """

    attempts: int = 3
    retry_s: float = 3600.0
    waiting_mb: int = 4096
    waiting_s: float = 0.0
    gather_s: float = 2.0
    replay_days: int = 90


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """`sqlite:///folder` (default: the home) or `postgresql://…`."""

    url: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """One account: `token_sha256` (hex) and/or `password_scrypt`; never the secret itself.

    user and display stand on pages and in the audit.
    """

    user: str
    role: str
    display: str = ""
    member: str = ""
    alliance: str = ""
    token_sha256: str = ""
    password_scrypt: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is watched for a source."""

    path: str
    source: str


@dataclass(frozen=True, slots=True)
class Keep:
    """For how many days originals are kept; 0 = for ever. The first entry that fits a message decides.

    source, kind: "" = all. kind: a format (`dicom`), a message type (`ADT`) or one event (`ADT^A08`).
    """

    source: str = ""
    kind: str = ""
    days: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything. `source` overrides settings of a mapping's source, e.g. `source.city_first_pacs.address`."""

    gateway: General = field(default_factory=General)
    http: Http = field(default_factory=Http)
    limits: Limits = field(default_factory=Limits)
    mllp: Mllp = field(default_factory=Mllp)
    dicom: Dicom = field(default_factory=Dicom)
    inbox: Inbox = field(default_factory=Inbox)
    fhir: Fhir = field(default_factory=Fhir)
    store: StoreUrl = field(default_factory=StoreUrl)
    token: tuple[Token, ...] = ()
    folder: tuple[Folder, ...] = ()
    keep: tuple[Keep, ...] = ()
    source: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
