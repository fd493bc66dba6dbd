"""Which pages of other origins may call the FHIR door from a browser. Source: Fetch standard §3.2 (CORS protocol)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_HEADERS = (
    "Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-None-Exist, If-Modified-Since, "
    "Idempotency-Key, X-Request-Id, X-Purpose-Of-Use"
)
_EXPOSED = "ETag, Location, Content-Location, Last-Modified, X-Request-Id, Retry-After, Idempotency-Replayed"
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Cors:
    """Origins by their exact text (`https://his.example`); none allowed unless configured, and never all."""

    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, origins: Iterable[str]) -> Cors:
        """From settings."""
        return cls(frozenset(one.rstrip("/") for one in origins))

    def headers(self, asked: Mapping[str, str]) -> Headers:
        """What an answer carries for the origin that asked; without it the browser shows the page nothing."""
        if not self.origins or (origin := asked.get("origin", "")) not in self.origins:
            return ()
        return (
            ("access-control-allow-origin", origin), ("vary", "Origin"), ("access-control-expose-headers", _EXPOSED)
        )  # fmt: skip

    def preflight(self, asked: Mapping[str, str]) -> Headers:
        """The same for the question a browser asks ahead of a request."""
        found = self.headers(asked)
        if not found or "access-control-request-method" not in asked:
            return found
        return (
            *found,
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", _HEADERS),
            ("access-control-max-age", "600"),
        )
