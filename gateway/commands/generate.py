"""`gateway generate`: a synthetic population in every member's own format."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from ..errors import ConfigError
from ..shipped import shipped
from .talk import Exit, emit


def run(args: argparse.Namespace) -> int:
    """Write the files; prints how many of each. Raises ConfigError for a folder with something in it.

    It may be a hospital's own files, and residents of another run would mix with these.
    """
    out = Path(args.out)
    if out.is_dir() and any(out.iterdir()):
        zh = "目录里已有文件，不会覆盖，也不与之混放；请换一个新目录。"
        raise ConfigError(args.out, "the folder is not empty", detail_zh=zh)
    sys.path.insert(0, str(shipped("fixtures").parent))
    counts = import_module("fixtures.population").generate(args.residents, args.seed, out)
    emit(counts)
    return Exit.OK
