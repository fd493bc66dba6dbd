"""`/metrics`: what an operator watches, for Prometheus. Sources and members are named, so a token is asked for.

Nearly all is read when somebody asks, from what is counted anyway. What counts the house is the same whichever process
answers; what counts one process carries its number as `worker`. Nothing in it is about a resident.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..inbox.queue import Inbox
from ..model.context import AccessContext
from ..model.directory import Directory
from ..model.outcome import State
from ..model.times import Clock
from ..model.view import Reading
from ..security.associations import Associations
from ..security.certificates import Certificates
from ..security.times import RequestTimes
from ..store.base import Store
from ..store.inbox_base import Messages
from .metrics_text import MEDIA, Family, Labels, counter, gauge, rendered, summary

_QUICK_S, _TIMES = 0.05, 20
"""Counting messages reads an index of all of them: where it takes longer than this, it rests so many times as long."""


@dataclass(frozen=True, slots=True)
class MetricsParts:
    """caller: lets in who may ask. worker: number of this process."""

    store: Store
    inbox: Inbox
    directory: Directory
    clock: Clock
    times: RequestTimes
    associations: Associations
    certificates: Certificates
    caller: Callable[[Request], Awaitable[AccessContext]]
    version: str
    worker: int = 0


def metrics_routes(parts: MetricsParts) -> list[Route]:
    """One address."""
    counts, began = MessageCounts(parts.inbox.messages), parts.clock().timestamp()

    async def metrics(request: Request) -> Response:
        await parts.caller(request)
        families = [
            *await _messages(parts, counts),
            *await _views(parts),
            *await _store(parts),
            _requests(parts),
            *_dicom(parts),
            _certificates(parts),
            *_process(parts, began),
        ]
        return Response(rendered(families), media_type=MEDIA)

    return [Route("/metrics", metrics, methods=["GET"])]


class MessageCounts:
    """How many messages by (source, state), at most a twentieth of the time spent on counting them."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._found: dict[tuple[str, str], int] = {}
        self._until = 0.0

    async def now(self) -> dict[tuple[str, str], int]:
        """As of now, or of a moment ago where there are very many."""
        began = time.monotonic()
        if began >= self._until:
            self._found = await self._messages.counts()
            ended = time.monotonic()
            took = ended - began
            self._until = ended + (took * _TIMES if took > _QUICK_S else 0)
        return self._found


async def _messages(parts: MetricsParts, counts: MessageCounts) -> list[Family]:
    found = await counts.now()
    # A state nobody is in is told as well: what appears with its first message is no increase to Prometheus.
    kinds = [(source, state.value) for source in sorted({source for source, _ in found}) for state in State]
    waiting, oldest = await parts.inbox.messages.backlog()
    age = max(0.0, (parts.clock() - oldest).total_seconds()) if oldest else 0
    return [
        gauge(
            "gateway_messages", "Kept messages by source and state; those of all states together are all ever kept.",
            *[(_of_source(parts, source) | {"state": state}, found.get((source, state), 0)) for source, state in kinds],
        ),
        gauge("gateway_backlog_bytes", "Bytes of messages without an outcome.", ({}, waiting)),
        gauge("gateway_backlog_oldest_seconds", "Age of the oldest message without an outcome.", ({}, age)),
    ]  # fmt: skip


async def _views(parts: MetricsParts) -> list[Family]:
    """Views that are to be read, also those nobody got to yet."""
    views = {name: one.view for name, one in sorted(parts.directory.sources.items()) if one.view is not None}
    if not views:
        return []
    found = await parts.inbox.messages.positions.readings()
    known = [(_of_view(name, one.name), found.get(name) or Reading(one.name)) for name, one in views.items()]
    return [
        gauge(
            "gateway_view_up", "1 while a database view is read, 0 while a fault stops it.",
            *[(labels, int(one.fault is None)) for labels, one in known],
        ),
        gauge(
            "gateway_view_read_timestamp_seconds", "When a view was last read to its end, 0 for never.",
            *[(labels, one.read_at) for labels, one in known],
        ),
        counter("gateway_view_rows_total", "Rows taken of a view.", *[(labels, one.rows) for labels, one in known]),
    ]  # fmt: skip


def _of_view(source: str, view: str) -> dict[str, str]:
    return {"source": source, "view": view}


def _of_source(parts: MetricsParts, name: str) -> dict[str, str]:
    known = parts.directory.sources.get(name)
    return {"source": name, "format": known.format if known else ""}


async def _store(parts: MetricsParts) -> list[Family]:
    figures, fresh = await parts.store.figures(), await parts.store.freshness()
    done, worker = figures.commits, _worker(parts)
    return [
        gauge(
            "gateway_resources", "Current resources by type.",
            *[({"type": type_}, count) for type_, count in sorted(figures.resources.items())],
        ),
        gauge(
            "gateway_member_newest_timestamp_seconds", "When the newest row of a member was written.",
            *[({"member": member}, at.timestamp()) for member, at in sorted(fresh.items())],
        ),
        gauge("gateway_audit_unchained_rows", "Audit rows not in the chain yet.", ({}, figures.unchained)),
        summary("gateway_commit_seconds", "Transactions of the store.", worker, done.count, done.seconds),
        counter("gateway_commit_writes_total", "Writes those transactions held together.", (worker, done.writes)),
    ]  # fmt: skip


def _requests(parts: MetricsParts) -> Family:
    text = "HTTP requests by door, FHIR interaction and class of status, to the last byte given to the network."
    return Family("gateway_http_request_seconds", "histogram", text, tuple(_samples(parts)))


def _samples(parts: MetricsParts) -> Iterator[tuple[str, Labels, float]]:
    for one in parts.times.told():
        labels = {"door": one.door, "interaction": one.interaction, "status": one.status} | _worker(parts)
        for bound, count in one.within:
            yield "_bucket", labels | {"le": str(bound)}, count
        yield "_bucket", labels | {"le": "+Inf"}, one.count
        yield "_sum", labels, one.seconds
        yield "_count", labels, one.count


def _certificates(parts: MetricsParts) -> Family:
    ends = [({"door": door}, at.timestamp()) for door, at in sorted(parts.certificates.until().items())]
    return gauge("gateway_certificate_expiry_timestamp_seconds", "When the TLS certificate of a door ends.", *ends)


def _dicom(parts: MetricsParts) -> list[Family]:
    met, worker = parts.associations, _worker(parts)
    if not met.port:
        return []
    return [
        counter(
            "gateway_dicom_associations_total", "DICOM associations by source, with the code of why one was refused.",
            *[({"source": source, "error": code} | worker, n) for (source, code), n in sorted(met.opened.items())],
        ),
        counter(
            "gateway_dicom_instances_total", "C-STOREs by source and the status answered.",
            *[({"source": source, "status": f"{status:04X}"} | worker, n)
              for (source, status), n in sorted(met.instances.items())],
        ),
        gauge("gateway_dicom_associations", "DICOM associations open now.", (worker, met.open)),
    ]  # fmt: skip


def _process(parts: MetricsParts, began: float) -> list[Family]:
    worker = _worker(parts)
    resident = _resident_bytes()
    return [
        gauge("gateway_info", "The release that runs.", ({"version": parts.version} | worker, 1)),
        gauge("process_start_time_seconds", "When this process began.", (worker, began)),
        counter("process_cpu_seconds_total", "Processor time of this process.", (worker, time.process_time())),
        *([gauge("process_resident_memory_bytes", "Memory of this process.", (worker, resident))] if resident else []),
    ]


def _worker(parts: MetricsParts) -> dict[str, str]:
    return {"worker": str(parts.worker)}


def _resident_bytes() -> int:
    """0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
