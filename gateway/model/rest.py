"""One HTTP interaction as values: what was asked, what is answered, and the small grammar of its headers.

Doors turn their framework's request into a `Call` and an `Answer` into bytes on the wire; a batch
entry is a `Call` too. Nothing here reads or writes. Sources: FHIR R4 http.html; RFC 9110.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from msgspec import Struct

from .context import AccessContext

FHIR_JSON = "application/fhir+json"
JSON_PATCH = "application/json-patch+json"
PATCH_FORMATS = (JSON_PATCH, FHIR_JSON)
"""A patch is a JSON Patch, or a FHIRPath Patch in Parameters."""
_JSON_TYPES = frozenset({FHIR_JSON, "application/json", "text/json", "application/json+fhir"})
_WILDCARDS = frozenset({"*/*", "application/*"})
_FORMATS = _JSON_TYPES | {"json"}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ETAG = re.compile(r'(?:W/)?"([^"]*)"')


class Call(Struct, frozen=True, gc=False):
    """One interaction. `path` is below the base and undecoded (`Patient/1`), `query` raw, header names lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    who: AccessContext
    base: str  # "http://127.0.0.1:8080/fhir", no slash at the end

    def header(self, name: str) -> str:
        """The header's value, "" when absent."""
        return self.headers.get(name, "")


class Seen(Struct, frozen=True, gc=False):
    """What an interaction touched: the part of an audit row only the interaction knows.

    action: C R U D E. subtype: FHIR restful-interaction code (read, vread, search-type, …, operation).
    """

    action: str
    subtype: str
    patients: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    query: str = ""
    detail: str = ""


class Part(Struct, frozen=True):
    """A further piece of a long body, and what it discloses: that is on record before the piece leaves."""

    body: bytes
    seen: Seen


class Answer(Struct, frozen=True):
    """Status, bytes and headers. `seen` None: the audit is already written, or nothing was disclosed.

    more: what follows `body` of an answer too long to be made at once.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    media: str = FHIR_JSON + ";charset=utf-8"
    seen: Seen | None = None
    more: AsyncIterator[Part] | None = None


@lru_cache(256)
def accepts_json(accept: str, format_: str = "") -> bool:
    """True when JSON will do: `_format` decides, else the Accept list (q=0 excludes), else yes."""
    if format_:
        return _bare(format_) in _FORMATS
    if not accept.strip() or accept == "*/*":
        return True
    weights = dict(_weighted(part) for part in accept.split(",") if part.strip())
    named = [weights[name] for name in _JSON_TYPES if name in weights]
    if named:
        return max(named) > 0
    return any(weights.get(name, 0.0) > 0 for name in _WILDCARDS)


@lru_cache(256)
def is_json(content_type: str) -> bool:
    """True for a body declared as FHIR JSON or plain JSON, in UTF-8 or without charset."""
    name, _, rest = content_type.partition(";")
    charset = re.search(r'charset\s*=\s*"?([\w-]+)', rest, re.IGNORECASE)
    utf8 = charset is None or charset.group(1).lower() in {"utf-8", "utf8", "us-ascii"}
    return name.strip().lower() in _JSON_TYPES and utf8


def _bare(media: str) -> str:
    # A plus in an unescaped query string arrives as a blank: application/fhir json.
    return media.partition(";")[0].strip().lower().replace("fhir json", "fhir+json").replace("json fhir", "json+fhir")


def _weighted(part: str) -> tuple[str, float]:
    name, *parameters = part.split(";")
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
    return name.strip().lower(), weight


def etag(version: int) -> str:
    """`W/"3"`."""
    return f'W/"{version}"'


def etag_versions(header: str) -> tuple[str, ...]:
    """The tags of If-Match or If-None-Match, `*` kept as it is; weak and strong alike."""
    if header.strip() == "*":
        return ("*",)
    found = tuple(_ETAG.findall(header))
    # Some clients send the bare number.
    return found or tuple(part.strip() for part in header.split(",") if part.strip())


def http_date(at: datetime) -> str:
    """IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    return _fixdate(int(at.timestamp()))


@lru_cache(1024)
def _fixdate(second: int) -> str:
    """Answers of one moment share few seconds."""
    utc = datetime.fromtimestamp(second, UTC)
    clock = f"{utc.hour:02d}:{utc.minute:02d}:{utc.second:02d}"
    return f"{_DAYS[utc.weekday()]}, {utc.day:02d} {_MONTHS[utc.month - 1]} {utc.year:04d} {clock} GMT"


def parse_http_date(text: str) -> datetime | None:
    """The instant of an HTTP date; None for anything unreadable (RFC 9110 §13.1.3: then ignore it)."""
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@lru_cache(256)
def prefer(header: str, name: str) -> str:
    """The value of one preference: `prefer("return=minimal; handling=lenient", "handling")` → `lenient`."""
    for part in re.split(r"[;,]", header):
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"').lower()
    return ""
