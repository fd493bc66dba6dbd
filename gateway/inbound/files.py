"""A folder per source: files in, `done/` out. The same way for DICOM, CDA, CSV and v2 files.

A file is taken when its size stood still between two looks, kept in the inbox, and moved to
`done/` (or `refused/` with a `.why` beside it). Names are never trusted: no links, nothing outside.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import GatewayError, MissingFile, TooLarge
from ..model.directory import Source
from .intake import BODY_LIMIT, Intake

_UNFINISHED = (".tmp", ".part", ".partial", ".writing", ".crdownload")
log = logging.getLogger("gateway.folder")
FILE_LIMIT = 2 * 1024 * 1024 * 1024  # a DICOM file; only its header is kept


class FolderDoor:
    """Watches one folder for one source."""

    def __init__(self, intake: Intake, source: Source, folder: Path, *, every_s: float = 2.0) -> None:
        self._intake = intake
        self._source = source
        self._folder = folder
        self._every_s = every_s
        self._seen: dict[Path, int] = {}

    async def run(self) -> None:
        """Look again and again until cancelled."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                await self.look()
            except OSError as fault:  # a full disk, a share that is away: look again later
                log.warning("folder %s: %s", self._folder, fault.strerror)
            await asyncio.sleep(self._every_s)

    async def look(self) -> int:
        """One look; returns how many files were taken."""
        taken = 0
        sizes = dict(_candidates(self._folder))
        for path, size in sizes.items():
            if self._seen.get(path) == size:
                await self._take(path)
                taken += 1
        self._seen = sizes
        return taken

    async def _take(self, path: Path) -> None:
        """A file the inbox cannot take now stays where it is, for the next look."""
        try:
            receipt = await self._intake.push(self._source, read_file(path, self._source.format), path.name)
            error = receipt.error
        except GatewayError as fault:
            error = fault
        if error is None or not error.retry:
            _file_away(path, error)


def files_below(path: Path) -> Iterator[Path]:
    """Regular files at or below a path, in name order; unfinished and hidden ones left out."""
    if not path.exists():
        raise MissingFile(str(path))
    if path.is_file():
        yield path.resolve() if path.is_symlink() else path  # a link somebody names is meant; one found is not
        return
    for child in sorted(path.iterdir()):
        if child.name.startswith(".") or child.suffix.lower() in _UNFINISHED or child.is_symlink():
            continue
        if child.is_dir():
            yield from files_below(child)
        elif child.is_file():
            yield child


def read_file(path: Path, format_: str) -> bytes:
    """The whole file, of a large image as much as holds its header. Raises TooLarge."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > (FILE_LIMIT if format_ == "dicom" else BODY_LIMIT):
            raise TooLarge(path.name, f"{size}")
        if format_ == "dicom" and size > BODY_LIMIT:
            return file.read(BODY_LIMIT)
        return file.read()


def _candidates(folder: Path) -> Iterator[tuple[Path, int]]:
    for entry in os.scandir(folder):
        info = entry.stat(follow_symlinks=False)
        hidden = entry.name.startswith(".") or Path(entry.name).suffix.lower() in _UNFINISHED
        if stat.S_ISREG(info.st_mode) and not hidden:
            yield Path(entry.path), info.st_size


def _file_away(path: Path, error: GatewayError | None) -> None:
    target = path.parent / ("refused" if error else "done")
    target.mkdir(exist_ok=True)
    place = target / path.name
    number = 1
    while place.exists():
        place = target / f"{path.stem}.{number}{path.suffix}"
        number += 1
    path.rename(place)
    if error:
        place.with_name(place.name + ".why").write_text(error.sentence_zh() + "\n", encoding="utf-8")
