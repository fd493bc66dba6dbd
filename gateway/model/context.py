"""Who asks, for whom, why: given to every read and every write (D9)."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """The roles a token can hold."""

    DOCTOR = "doctor"
    VENDOR = "vendor"
    PLATFORM = "platform"
    ADMIN = "admin"
    MONITOR = "monitor"


EVERY_LABEL = -1
"""As the labels a caller may see."""


class AccessContext(Struct, frozen=True):
    """One caller of one request. `store/base.py` compiles it into the SQL of every row access.

    types: resource types that may be read; None means all.
    members: member keys whose rows may be read; None means all of the alliance.
    labels: security-label classes the caller may see, as bits (see `store/base.py`).
    """

    user: str
    display: str
    role: Role
    member: str
    alliance: str
    purpose: str = "TREAT"
    types: frozenset[str] | None = None
    write_types: frozenset[str] | None = frozenset()
    members: frozenset[str] | None = None
    labels: int = 0
    client: str = ""
    address: str = ""
    request_id: str = ""

    def may_read(self, resource_type: str) -> bool:
        """True when the type is within the caller's scope. The audit names everybody of every member: it is read by
        an administrator of them all, not by one of a member or of some."""
        if resource_type == "AuditEvent":
            return self.role is Role.ADMIN and not self.member and self.members is None
        return self.types is None or resource_type in self.types

    def may_write(self, resource_type: str) -> bool:
        """True when the caller may create or change resources of this type."""
        return self.write_types is None or resource_type in self.write_types


SYSTEM = AccessContext(
    user="gateway",
    display="gateway",
    role=Role.ADMIN,
    member="",
    alliance="",
    purpose="SYSDEV",
    write_types=None,
    labels=EVERY_LABEL,
)
"""The gateway's own hands: the pipeline, replay and maintenance. Never given to a request."""
