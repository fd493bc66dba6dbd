"""Parts of one whole that come one by one, as the images of a study do, are worked on together: one version for all.

They wait a little for more of it, and stand in their lanes meanwhile. Nothing depends on it: what a crash scatters,
or what several processes claim, is joined by what is stored, in more versions.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from .lanes import Place

_FULL = 256
"""Messages that begin without waiting for more."""
_TIMES = 15
"""However steadily more of it comes, it waits so many times as long as for one more part."""


class Part(Protocol):
    """whole: what it is a part of, "" for what is complete. lanes: see `Worker`."""

    @property
    def whole(self) -> str:
        """See above."""

    @property
    def lanes(self) -> tuple[str, ...]:
        """See above."""


P = TypeVar("P", bound=Part)


class Job(Generic[P]):
    """What is worked on at once: a message, or parts of one whole as long as it has not begun."""

    __slots__ = ("first", "last", "now", "place", "task", "works")

    def __init__(self, work: P, place: Place, now_s: float) -> None:
        self.works: list[P] = [work]
        self.place = place
        self.first = self.last = now_s
        self.now = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Gather(Generic[P]):
    """The jobs that wait for more. quiet_s: how long after the last part; 0 = none waits."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._open: dict[str, Job[P]] = {}
        self._hurried = 0

    def begun(self, work: P, place: Place, *, alone: bool) -> Job[P]:
        """A job of its own for this work; alone: nothing joins it.

        What is complete lets those it stands behind wait no longer. Wholes that share a lane, as two studies of one
        patient, keep waiting: which of their parts came first makes no difference.
        """
        if alone or not work.whole:
            for other in [one for one in self._open.values() if not one.place.lanes.isdisjoint(place.lanes)]:
                self._close(other)
        job = Job(work, place, asyncio.get_running_loop().time())
        if alone or not work.whole or not self._quiet_s:
            job.now.set()
        else:
            self._open[work.whole] = job
        return job

    def joined(self, work: P) -> Job[P] | None:
        """The job it became a part of: one about the very same, behind which nothing complete stands."""
        job = self._open.get(work.whole) if work.whole else None
        if job is None or frozenset(work.lanes) != job.place.lanes:
            return None
        job.works.append(work)
        job.last = asyncio.get_running_loop().time()
        if len(job.works) >= _FULL:
            self._close(job)
        return job

    async def complete(self, job: Job[P]) -> None:
        """Returns when no more of it is to be waited for."""
        loop = asyncio.get_running_loop()
        while not job.now.is_set() and not self._hurried:
            until = min(job.last + self._quiet_s, job.first + _TIMES * self._quiet_s)
            if (left_s := until - loop.time()) <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(job.now.wait(), left_s)

    def taken(self, job: Job[P]) -> Sequence[P]:
        """Its parts; it begins, so that nothing joins it any more."""
        self._close(job)
        return job.works

    def release(self) -> None:
        """All begin as soon as they may: their room is needed, or somebody waits for them."""
        for job in list(self._open.values()):
            self._close(job)

    @contextlib.contextmanager
    def hurry(self) -> Iterator[None]:
        """Inside, nothing waits for more."""
        self._hurried += 1
        self.release()
        try:
            yield
        finally:
            self._hurried -= 1

    def _close(self, job: Job[P]) -> None:
        job.now.set()
        whole = job.works[0].whole
        if self._open.get(whole) is job:
            del self._open[whole]
