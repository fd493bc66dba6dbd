"""Break-glass: a doctor who states why sees what labels keep from the role, of one resident, for four hours.

The reason is in the audit before anything is seen, and all that is seen is audited under the purpose BTG
(reliability-security T9; HL7 v3-ActReason). All processes of a house know of it; it ends with the sign-in's account.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from ..model.context import EVERY_LABEL, AccessContext, Role
from ..model.rest import Seen
from ..model.times import Clock
from ..store.base import AuditRow
from ..store.sign_ins import SignIns
from .audit import audit_row

FOR = timedelta(hours=4)
PURPOSE, KIND, STARTED = "BTG", "security", "110127"
"""Of the audit row of a stated reason: DICOM PS3.16 CID 403, Emergency Override Started."""
LEAST, MOST = 6, 200
"""Characters of a reason."""


class Glass:
    """Who sees what of whom until when."""

    __slots__ = ("_clock", "_kept")

    def __init__(self, kept: SignIns, clock: Clock) -> None:
        self._kept, self._clock = kept, clock

    def row(self, who: AccessContext, patient: str, reason: str) -> AuditRow:
        """The audit row to be written before `open`."""
        seen = Seen("E", STARTED, (patient,), (f"Patient/{patient}",), detail=reason)
        return audit_row(self._clock(), replace(who, purpose=PURPOSE), seen, kind=KIND)

    def open(self, who: AccessContext, patient: str) -> None:
        """From now on. Raises StorageFull."""
        self._kept.open_glass(who.user, patient, (now := self._clock()).timestamp(), (now + FOR).timestamp())

    def of(self, who: AccessContext, patient: str) -> tuple[AccessContext, datetime | None]:
        """The caller as they may look at this resident, and until when they see more than their role does."""
        until = self._kept.glass(who.user, patient, self._clock().timestamp()) if who.role is Role.DOCTOR else None
        if until is None:
            return who, None
        return replace(who, labels=EVERY_LABEL, purpose=PURPOSE), datetime.fromtimestamp(until, UTC)
