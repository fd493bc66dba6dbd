"""What every bench prints first: the machine, so that a figure is never quoted without it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import apsw


def machine() -> str:
    """One line."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())  # fmt: skip
    return f"{cpu} x{os.cpu_count()}, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}"


def row(what: str, figure: float, unit: str, ceiling: float = 0.0) -> None:
    """One figure beside its ceiling of the same run."""
    beside = f"   ceiling {ceiling:>10,.0f} {unit}   {figure / ceiling:6.1%}" if ceiling else ""
    print(f"{what:<52} {figure:>10,.0f} {unit}{beside}", flush=True)
