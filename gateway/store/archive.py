"""One backup file: a zip of streams, with a manifest that names each, its hash and what it must add up to.

It carries the store's key and its dictionaries, so it is as secret as the store: only its owner may read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from ..errors import BrokenArchive, ConfigError, NewerRelease

FORMAT = 1
BLOCK = 1 << 20
Progress = Callable[[str, int], None]
"""Told the name of the part at hand and the bytes just done."""


class Part(msgspec.Struct, frozen=True):
    """One stream. rows: of a table; columns: in their order. Both empty for a whole file."""

    name: str
    sha256: str
    size: int
    rows: int = 0
    columns: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True):
    """engine: sqlite | postgres. schemas: version of each schema or file. counts: what a restore must find again.

    sequences: next numbers by schema and name (PostgreSQL).
    """

    format: int
    engine: str
    release: str
    at: str
    schemas: dict[str, int]
    counts: dict[str, int]
    parts: tuple[Part, ...]
    sequences: dict[str, int] = msgspec.field(default_factory=dict)


@dataclass
class Writer:
    """An archive being written; it has its name only once it is whole and on disk."""

    path: Path
    progress: Progress
    parts: list[Part] = field(default_factory=list)

    def __enter__(self) -> Writer:
        if self.path.exists():
            raise ConfigError(str(self.path), "exists already", detail_zh="文件已存在，不覆盖。")
        self._part = self.path.with_name(self.path.name + ".part")
        self._file = os.fdopen(os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        return self

    def add(
        self, name: str, blocks: Iterable[bytes | memoryview], rows: int = 0, columns: tuple[str, ...] = ()
    ) -> None:
        """One stream."""
        digest, size = hashlib.sha256(), 0
        with self._zip.open(name, "w", force_zip64=True) as out:
            for block in blocks:
                out.write(block)
                digest.update(block)
                size += len(block)
                self.progress(name, len(block))
        self.parts.append(Part(name, digest.hexdigest(), size, rows, columns))

    def finish(self, manifest: Manifest) -> None:
        """The manifest last; then the file gets its name."""
        self._zip.writestr("manifest.json", msgspec.json.format(msgspec.json.encode(manifest)))
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.rename(self.path)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, ValueError):  # of one broken off, whose end need not be written
            self._zip.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)


class Reader:
    """An archive. Raises BrokenArchive for what is none, NewerRelease."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._progress = progress
        try:
            self._zip = zipfile.ZipFile(path)
            self.manifest = msgspec.json.decode(self._zip.read("manifest.json"), type=Manifest)
        except (OSError, KeyError, zipfile.BadZipFile, msgspec.DecodeError) as fault:
            raise BrokenArchive(str(path), f"{type(fault).__name__}: {fault}") from fault
        if self.manifest.format > FORMAT:
            raise NewerRelease(str(path), f"format {self.manifest.format} > {FORMAT}, made by {self.manifest.release}")

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def blocks(self, part: Part) -> Iterator[bytes]:
        """A part's bytes. Raises BrokenArchive after the last when they are not what was written."""
        digest = hashlib.sha256()
        try:
            with self._zip.open(part.name) as stream:
                for block in _read(stream):
                    digest.update(block)
                    self._progress(part.name, len(block))
                    yield block
        except (KeyError, zipfile.BadZipFile, EOFError) as fault:
            raise BrokenArchive(part.name, str(fault)) from fault
        if digest.hexdigest() != part.sha256:
            raise BrokenArchive(part.name, "its bytes are not those that were backed up")


@contextlib.contextmanager
def writing(where: Path) -> Iterator[None]:
    """What the disk refuses within names the place that was written to."""
    try:
        yield
    except OSError as fault:
        raise OSError(fault.errno, fault.strerror, fault.filename or str(where)) from fault


def _read(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block


def file_blocks(path: Path) -> Iterator[bytes]:
    """A file's bytes."""
    with path.open("rb") as stream:
        yield from _read(stream)
