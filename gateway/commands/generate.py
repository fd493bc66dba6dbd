"""`gateway generate`: a synthetic population in every member's own format."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from ..shipped import shipped
from .talk import Exit, emit


def run(args: argparse.Namespace) -> int:
    """Write the files; prints how many of each."""
    sys.path.insert(0, str(shipped("fixtures").parent))
    counts = import_module("fixtures.population").generate(args.residents, args.seed, Path(args.out))
    emit(counts)
    return Exit.OK
