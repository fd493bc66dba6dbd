"""The recognition rules of one area and year, loaded strictly from `profiles/recognition/<area>-<year>.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

Kind = Literal["lab", "examination"]
Start = Literal["issued", "collected"]
Scope = Literal["national", "cross", "province", "city", "alliance"]


@dataclass(frozen=True, slots=True)
class RuleSheet:
    """title: `本地区 2026 版`."""

    area: str
    year: int
    title: str


def load(path: Path) -> RuleSheet:
    """The sheet. Raises ConfigError with file:line for anything it cannot use."""
    raise NotImplementedError
