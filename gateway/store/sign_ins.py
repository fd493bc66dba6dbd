"""Who is signed in, and who failed to be: one small file that all processes of a house share.

With several processes behind one port, the next request of a browser may reach any of them. What a power cut loses is
a sign-in. Instants are seconds since 1970.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import apsw

from ..errors import StorageFull

_TABLES = """
CREATE TABLE IF NOT EXISTS session(
  id BLOB PRIMARY KEY, user TEXT NOT NULL, csrf TEXT NOT NULL, started REAL NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failure(key TEXT PRIMARY KEY, count INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS glass(
  user TEXT NOT NULL, patient TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY(user, patient)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS familiar(key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
"""
_FULL = (apsw.FullError, apsw.IOError)


class SignIns:
    """`<home>/sessions.db`, readable by its owner alone; without a home, in memory."""

    def __init__(self, home: Path | None) -> None:
        if home is not None:
            (home / "sessions.db").touch(mode=0o600)
        self._db = apsw.Connection(str(home / "sessions.db") if home else ":memory:")
        self._db.set_busy_timeout(5_000)
        self._db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF")
        self._db.execute(_TABLES)

    def add(self, id_: bytes, user: str, csrf: str, now: float, oldest: tuple[float, float]) -> None:
        """A new session; those last used, or started, before `oldest` are gone. Raises StorageFull."""
        try:
            self._db.execute("DELETE FROM session WHERE used < ? OR started < ?", oldest)
            self._db.execute("INSERT INTO session VALUES(?, ?, ?, ?, ?)", (id_, user, csrf, now, now))
        except _FULL:
            raise StorageFull(detail="sessions.db") from None

    def use(self, id_: bytes, now: float, oldest: tuple[float, float]) -> tuple[str, str, float] | None:
        """User, CSRF token and start of a session that is used now; None for none younger than `oldest`."""
        sql = "SELECT user, csrf, started FROM session WHERE id = ? AND used >= ? AND started >= ?"
        found: tuple[str, str, float] | None = next(iter(self._db.execute(sql, (id_, *oldest))), None)
        if found is not None:
            with contextlib.suppress(*_FULL):  # on a full disk reading goes on, till the idle time last noted is over
                self._db.execute("UPDATE session SET used = ? WHERE id = ?", (now, id_))
        return found

    def drop(self, id_: bytes) -> None:
        """The session is over."""
        self._db.execute("DELETE FROM session WHERE id = ?", (id_,))

    def drop_of(self, users: Iterable[str]) -> None:
        """All sessions of these users are over, and what they see beyond their role."""
        for user in users:
            self._db.execute("DELETE FROM session WHERE user = ?", (user,))
            self._db.execute("DELETE FROM glass WHERE user = ?", (user,))

    def open_glass(self, user: str, patient: str, now: float, until: float) -> None:
        """This user sees all of this Patient until then. Raises StorageFull."""
        try:
            self._db.execute("DELETE FROM glass WHERE until < ?", (now,))
            self._db.execute("INSERT OR REPLACE INTO glass VALUES(?, ?, ?)", (user, patient, until))
        except _FULL:
            raise StorageFull(detail="sessions.db") from None

    def glass(self, user: str, patient: str, now: float) -> float | None:
        """Until when, while it lasts."""
        sql = "SELECT until FROM glass WHERE user = ? AND patient = ? AND until > ?"
        return next((float(row[0]) for row in self._db.execute(sql, (user, patient, now))), None)

    def failures(self, key: str, since: float) -> tuple[int, float]:
        """How often a key failed in a row, and when last; nothing when that was before `since`."""
        sql = "SELECT count, at FROM failure WHERE key = ? AND at > ?"
        found: tuple[int, float] = next(iter(self._db.execute(sql, (key, since))), (0, 0.0))
        return found

    def failed(self, key: str, now: float, since: float) -> None:
        """Once more, or once when it failed last before `since`."""
        sql = (
            "INSERT INTO failure VALUES(?1, 1, ?2) ON CONFLICT DO UPDATE"
            " SET count = iif(at > ?3, count, 0) + 1, at = excluded.at"
        )
        self._db.execute(sql, (key, now, since))

    def forgive(self, keys: Iterable[str]) -> None:
        """Forget the failures of these keys."""
        self._db.executemany("DELETE FROM failure WHERE key = ?", [(key,) for key in keys])

    def remember(self, key: str, now: float) -> None:
        """This user signed in on this device."""
        self._db.execute("INSERT OR REPLACE INTO familiar VALUES(?, ?)", (key, now))

    def familiar(self, key: str, since: float) -> bool:
        """Whether this user ever did, since then."""
        return bool(list(self._db.execute("SELECT 1 FROM familiar WHERE key = ? AND at > ?", (key, since))))

    def forget(self, failed: float, familiar: float) -> None:
        """What is older counts no more."""
        self._db.execute("DELETE FROM failure WHERE at <= ?", (failed,))
        self._db.execute("DELETE FROM familiar WHERE at <= ?", (familiar,))

    def close(self) -> None:
        """Let go of the file; the sessions live on."""
        self._db.close()
