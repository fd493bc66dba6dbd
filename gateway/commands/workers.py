"""Several processes with one parent that does nothing but start, stop and replace them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import GatewayError
from .talk import Exit, say

Work = Callable[[int, int], int]
"""What a worker does, given its number and the reading end of a pipe that closes when the parent is gone."""

log = logging.getLogger("gateway.workers")

_STOP_S = 25
_SOON_S = 5.0
"""A worker that ends within this time of its start is started again later and later."""
_CONFIG = (Exit.USAGE, Exit.CONFIG)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)


@dataclass(slots=True)
class Worker:
    """One process. served: it was set up well before, for it ended for another reason."""

    number: int
    served: bool = False
    started: float = 0.0
    pause_s: float = 0.0
    due: float = 0.0


@dataclass(slots=True)
class Family:
    """The workers. running: by pid. absent: those to start when they are due."""

    work: Work
    lifeline: tuple[int, int]
    running: dict[int, Worker] = field(default_factory=dict)
    absent: list[Worker] = field(default_factory=list)

    def start_due(self) -> None:
        """Start those whose time has come."""
        now = time.monotonic()
        due, self.absent = [w for w in self.absent if w.due <= now], [w for w in self.absent if w.due > now]
        for worker in due:
            worker.started = now
            self.running[self._fork(worker.number)] = worker

    def _fork(self, number: int) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code: int = Exit.PARTIAL
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGHUP})  # which waits for the end of the start
            os.close(self.lifeline[1])
            code = self.work(number, self.lifeline[0])
        except GatewayError as fault:
            say(f"{fault.code} {fault.sentence_zh()}")
            say(f"{' ' * len(fault.code)} {fault.sentence_en()}")
            code = Exit.CONFIG if fault.code.startswith("GW-CFG") else Exit.PARTIAL
        except BaseException as fault:
            say(f"工作进程 / worker {number}: {type(fault).__name__}: {fault}")
        finally:
            os._exit(code)  # nothing of the parent is the child's to clean up

    def reap(self) -> int:
        """Take note of workers that ended; the code of one that cannot run at all, else 0.

        What served before was set up well: without its database now, it is started again until that is back.
        """
        for pid, status in _ended(self.running):
            worker = self.running.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            if code in _CONFIG and not worker.served:
                return code
            worker.served = True
            now = time.monotonic()
            soon = now - worker.started < _SOON_S
            worker.pause_s = min(max(worker.pause_s * 2, 0.5), 10) if soon else 0.0
            worker.due = now + worker.pause_s
            log.warning("工作进程 %d 已结束（%d），重新启动 / worker ended, starting it again", worker.number, code)
            self.absent.append(worker)
        return 0

    def stop(self) -> None:
        """Ask all to finish what they have begun; end those that do not in time."""
        self._tell(signal.SIGTERM)
        end = time.monotonic() + _STOP_S
        while self.running and time.monotonic() < end:
            for pid, _ in _ended(self.running):
                self.running.pop(pid)
            signal.sigtimedwait((signal.SIGCHLD,), 0.1)
        self._tell(signal.SIGKILL)
        for pid in self.running:
            os.waitpid(pid, 0)

    def reload(self) -> None:
        """Ask all to let the accounts on disk serve, and the mappings once they are proven."""
        self._tell(signal.SIGHUP)

    def _tell(self, what: signal.Signals) -> None:
        for pid in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)


def _ended(running: dict[int, Worker]) -> list[tuple[int, int]]:
    found = [os.waitpid(pid, os.WNOHANG) for pid in running]
    return [(pid, status) for pid, status in found if pid]


def supervise(work: Work, workers: int, reload: Callable[[], None]) -> int:
    """Run `work` in so many processes until SIGTERM or SIGINT; one that ends is replaced. Returns the exit code.

    reload: what the parent does at SIGHUP, before it passes it on.

    Signals are blocked and waited for, so none is lost between two looks.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    family = Family(work, os.pipe(), absent=[Worker(number) for number in range(workers)])
    code = 0
    try:
        while not code:
            family.start_due()
            told = signal.sigtimedwait(_SIGNALS, 0.25)
            if told is not None and told.si_signo == signal.SIGHUP:
                reload()
                family.reload()
            elif told is not None and told.si_signo != signal.SIGCHLD:
                break
            code = family.reap()
    finally:
        family.stop()
    return code
