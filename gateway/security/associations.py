"""Who came to the DICOM door and what became of it: counted, and the newest kept in memory for the console.

A PACS engineer who mistyped an AE title finds here what he typed. AE titles and addresses, nothing about residents.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ..errors import GatewayError
from ..model.times import Clock

log = logging.getLogger("gateway.dicom")
_KEPT = 100
_LOG_AGAIN_S = 60.0
"""A sender that tries again every second is told to the log once a minute."""


@dataclass(slots=True)
class Met:
    """Associations alike: same titles, address, source and fault. times: how many. stored, refused: instances."""

    address: str
    called: str
    calling: str
    source: str
    fault: GatewayError | None
    first: datetime
    last: datetime
    times: int = 0
    stored: int = 0
    refused: int = 0
    open: int = 0
    wrong: GatewayError | None = None
    """Of the last instance that was refused, or why the association was of no use."""
    logged: float = field(default=0.0, repr=False)


Key = tuple[str, str, str, str, str]


class Associations:
    """Of one process, on its event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._met: dict[Key, Met] = {}
        self.opened: Counter[tuple[str, str]] = Counter()
        """Associations by (source, code of what was wrong or "")."""
        self.instances: Counter[tuple[str, int]] = Counter()
        """C-STOREs by (source, status)."""
        self.port = 0
        """Where the door listens; 0 while it does not."""

    def accepted(self, address: str, called: str, calling: str, source: str) -> Met:
        """An association that was accepted; whoever accepted it says when it ends."""
        met = self._meet(address, called, calling, source, None)
        met.open += 1
        return met

    def refused(self, address: str, called: str, calling: str, fault: GatewayError, source: str = "") -> None:
        """One that was rejected or aborted."""
        met = self._meet(address, called, calling, source, fault)
        if not met.logged or time.monotonic() - met.logged > _LOG_AGAIN_S:
            met.logged = time.monotonic()
            log.warning(
                "association refused: called=%r calling=%r address=%s %s %s",
                called, calling, address, fault.code, fault.place,
            )  # fmt: skip

    def stored(self, met: Met, status: int, fault: GatewayError | None = None) -> None:
        """The answer to one C-STORE."""
        self.instances[met.source, status] += 1
        met.last = self._clock()
        if fault is None:
            met.stored += 1
        else:
            met.refused, met.wrong = met.refused + 1, fault

    def ended(self, met: Met) -> None:
        """An accepted association is over."""
        met.open -= 1
        met.last = self._clock()

    def newest(self) -> Iterable[Met]:
        """Newest first."""
        return sorted(self._met.values(), key=lambda one: one.last, reverse=True)

    @property
    def open(self) -> int:
        """Associations open now."""
        return sum(one.open for one in self._met.values())

    def _meet(self, address: str, called: str, calling: str, source: str, fault: GatewayError | None) -> Met:
        code = fault.code if fault else ""
        self.opened[source, code] += 1
        key, now = (address, called, calling, source, f"{code} {fault.place}" if fault else ""), self._clock()
        met = self._met.get(key)
        if met is None:
            self._make_room()
            met = self._met[key] = Met(address, called, calling, source, fault, now, now)
        met.times, met.last, met.fault = met.times + 1, now, fault
        return met

    def _make_room(self) -> None:
        """Whoever scans the port with a thousand titles drives nobody out who is connected."""
        if len(self._met) >= _KEPT:
            idle = [key for key, one in self._met.items() if not one.open]
            if idle:
                del self._met[min(idle, key=lambda key: self._met[key].last)]
