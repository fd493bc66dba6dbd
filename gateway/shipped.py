"""Where the data files of the package are: in the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

_INSIDE = Path(__file__).parent / "_data"


def folders(own: str, folder: str) -> list[Path]:
    """The operator's folder first (it wins), then the shipped one."""
    return [*([Path(own)] if own else []), shipped(folder)]


def shipped(folder: str) -> Path:
    """`mappings`, `profiles` or `fixtures`."""
    inside = _INSIDE / folder
    return inside if inside.is_dir() else Path(__file__).parents[1] / folder
