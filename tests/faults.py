"""A disk that fails: it fills up, or the power goes and takes what was never synced.

`Disk` is SQLite's default file system while it is used, and takes what disclosures write through to their files, so
whatever the gateway opens lies on it: store, inbox, audit, the WAL of each, and the fresh disclosures.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from gateway.store import audit_fresh

SECTOR = 512
_REAL = "unix"
_numbers = itertools.count()


class Disk(apsw.VFS):
    """Writes go through to the real file; beside it stands what a power loss would leave.

    full: says of a path whether growing it fails. honest: False forgets every sync, as a disk that lies.
    crash_at: the number of the write or sync at which the power goes; `image` then holds every file's bytes.
    """

    def __init__(self, *, crash_at: int = -1, seed: int = 0, honest: bool = True, remember: bool = True) -> None:
        """remember: keep what a power loss would leave; of no use where the disk only fills up."""
        self.name = f"faulty-{os.getpid()}-{next(_numbers)}"
        super().__init__(self.name, _REAL)
        self.full: Callable[[str], bool] = lambda _: False
        self.honest, self._remember = honest, remember
        self.steps = 0
        self.image: dict[str, bytes] | None = None
        self.at_crash: Callable[[], None] = lambda: None
        self._crash_at, self._chance = crash_at, random.Random(seed)
        self._durable: dict[str, bytearray] = {}
        self._pending: dict[str, list[tuple[int, bytes | None]]] = {}
        self._lock = threading.RLock()
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Disk:
        apsw.set_default_vfs(self.name)
        self._patch.setattr(audit_fresh, "write_through", self.write_through)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        apsw.set_default_vfs(_REAL)

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self._lock:
            super().xDelete(filename, syncdir)
            self._durable.pop(filename, None)
            self._pending.pop(filename, None)

    def write_through(self, handle: int, data: bytes, at: int) -> None:
        """In place of the one of fresh disclosures: a write and a sync in one."""
        path = os.readlink(f"/proc/self/fd/{handle}")
        if self.full(path) and at + len(data) > os.fstat(handle).st_size:
            raise OSError(errno.ENOSPC, "no space left")
        self.opened(path)
        self.wrote(path, at, data)
        os.pwrite(handle, data, at)
        self.synced(path)

    # ---- what is really on the platter
    def opened(self, path: str) -> None:
        """A file that was there before counts as synced."""
        with self._lock:
            if path not in self._durable:
                self._durable[path] = bytearray(Path(path).read_bytes() if os.path.exists(path) else b"")
                self._pending[path] = []

    def wrote(self, path: str, offset: int, data: bytes | None) -> None:
        """Bytes at an offset, or (None) a new length."""
        with self._lock:
            if not self._remember:
                return
            self._step()
            self._pending[path].append((offset, data))

    def synced(self, path: str) -> None:
        """Everything pending of the file is durable."""
        with self._lock:
            if not self._remember:
                return
            self._step()
            if self.honest:
                for offset, data in self._pending[path]:
                    _apply(self._durable[path], offset, data)
                self._pending[path] = []

    def _step(self) -> None:
        if self.steps == self._crash_at:
            self.lose_power()
        self.steps += 1

    def lose_power(self) -> None:
        """Of what was not synced, each sector is there or not."""
        with self._lock:
            self.at_crash()
            self.image = {}
            for path, durable in self._durable.items():
                left = bytearray(durable)
                for offset, data in self._pending[path]:
                    self._maybe(left, offset, data)
                self.image[path] = bytes(left)

    def _maybe(self, left: bytearray, offset: int, data: bytes | None) -> None:
        if data is None:
            if self._chance.random() < 0.5:
                _apply(left, offset, None)
            return
        for start in range(0, len(data), SECTOR):
            if self._chance.random() < 0.5:
                _apply(left, offset + start, data[start : start + SECTOR])


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: object, flags: list[int]) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._path = str(path) if path else ""
        if self._path:
            disk.opened(self._path)
        super().__init__(_REAL, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk.full(self._path) and offset + len(data) > self.xFileSize():
            raise apsw.FullError("no space left")
        super().xWrite(data, offset)
        if self._path:
            self._disk.wrote(self._path, offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        if self._path:
            self._disk.wrote(self._path, size, None)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        if self._path:
            self._disk.synced(self._path)
