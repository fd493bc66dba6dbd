"""`gateway store stats|verify`: how large the store is, and whether its audit chain is whole."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from ..errors import ConfigError
from ..model.times import system_clock
from ..store.peek import stats
from ..store.resources import open_store
from .talk import Exit, emit, say


def run(args: argparse.Namespace) -> int:
    """Dispatch."""
    home = Path(args.home)
    if not (home / "store.db").exists():
        raise ConfigError(
            f"--home {home}", "no store.db there", detail_zh="那里没有 store.db，请用 --home 指明网关的数据目录。"
        )
    if args.action == "verify":
        return asyncio.run(_verify(home, as_json=args.json))
    for name, value in stats(home).items():
        emit({name: value}) if args.json else print(f"{value:>15,}  {name}")
    return Exit.OK


async def _verify(home: Path, *, as_json: bool) -> int:
    """Checks the whole chain; the gateway of this home must be stopped."""
    store = await open_store(f"sqlite:///{home}", clock=system_clock)
    try:
        verdict = await store.audit_log.verify()
    finally:
        await store.close()
    if as_json:
        emit({"checked": verdict.checked, "broken": verdict.broken})
    if verdict.broken:
        say(f"审计链在第 {verdict.broken} 条断开 / the audit chain is broken at row {verdict.broken}")
        return Exit.PARTIAL
    say(f"审计链完整，共 {verdict.checked} 条 / the audit chain is whole, {verdict.checked} rows")
    return Exit.OK
