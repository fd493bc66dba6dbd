"""Search parameters beyond R4's: the SearchParameter resources in `searchparameter` of the profile folders.

They hold for the whole process, like R4's own, because rows are written and asked by the same ones. Source: FHIR R4
searchparameter.html.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import ConfigError
from ..shipped import shipped
from ..validate.definitions import SearchRow, resource_types, search_rows
from ..validate.shapes import struct

KINDS = frozenset(["token", "string", "reference", "date", "quantity", "number", "uri"])
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


class OwnParameter(NamedTuple):
    """One parameter. path: the file it stands in."""

    row: SearchRow
    path: Path


_in_force: list[tuple[OwnParameter, ...]] = []


def own() -> tuple[OwnParameter, ...]:
    """Those in force: of the folders last kept, before that the shipped ones."""
    return _in_force[-1] if _in_force else _shipped()


def keep(found: tuple[OwnParameter, ...]) -> None:
    """Put these in force."""
    _in_force[:] = [found]


def digest() -> str:
    """Changes whenever rows would get other keys."""
    said = sorted(repr((one.row.code, one.row.bases, one.row.kind, one.row.expression)) for one in own())
    return hashlib.blake2b("\n".join(said).encode(), digest_size=8).hexdigest()


@cache
def _shipped() -> tuple[OwnParameter, ...]:
    return load([shipped("profiles")])


def load(folders: Iterable[Path]) -> tuple[OwnParameter, ...]:
    """Every parameter of the folders; of files of one name the first. Raises ConfigError naming the file."""
    files: dict[str, Path] = {}
    for folder in folders:
        for path in (folder / "searchparameter").glob("*.json"):
            files.setdefault(path.name, path)
    found = tuple(_read(files[name]) for name in sorted(files))
    _refuse_repeated(found)
    return found


def _read(path: Path) -> OwnParameter:
    try:
        made: Any = msgspec.json.decode(path.read_bytes(), type=struct("SearchParameter"))
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        zh = f"不是 SearchParameter：{error}"
        raise ConfigError(str(path), f"no SearchParameter: {error}", detail_zh=zh) from error
    bases = tuple(made.base or ())
    if not bases or not set(bases) <= resource_types():
        raise ConfigError(f"{path}: base", "must name resource types of R4", detail_zh="须为 R4 的资源类型。")
    if not _CODE.fullmatch(made.code or ""):
        raise ConfigError(
            f"{path}: code", "a letter, then letters, digits or -", detail_zh="须为字母开头的字母、数字和 -。"
        )
    if made.type not in KINDS:
        kinds = ", ".join(sorted(KINDS))
        raise ConfigError(f"{path}: type", f"must be one of {kinds}", detail_zh=f"须为 {kinds} 之一。")
    row = SearchRow(made.code, bases, made.type, made.expression or "", tuple(made.target or ()), (), made.url or "")
    return OwnParameter(row, path)


def _refuse_repeated(found: tuple[OwnParameter, ...]) -> None:
    taken = {(base, row.code) for row in search_rows() for base in row.bases}
    for one in found:
        for base in one.row.bases:
            if (base, one.row.code) in taken:
                known = f"{base}?{one.row.code}"
                raise ConfigError(f"{one.path}: code", f"{known} is there already", detail_zh=f"已有 {known}。")
            taken.add((base, one.row.code))
