"""`gateway inbox prune`: let go of originals past the days the configuration gives them, or say which would go."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from ..config import load
from ..inbox.prune import Pruned, Retention
from ..model.times import system_clock
from .beside import beside
from .talk import Exit, emit, say


def run(args: argparse.Namespace) -> int:
    """With the rules of `--config`, beside a running gateway or without one."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    settings = load(Path(args.config))
    async with beside(args) as at:
        rules = Retention(
            at.inbox, await at.store(), settings.keep, system_clock, replay_days=settings.inbox.replay_days
        )
        if rules.idle:
            say("配置里没有 [[keep]] 规则，原文永久保存 / no rule lets anything go")
            return Exit.OK
        _tell(await rules.all(dry=args.dry_run, most=args.limit), args)
    return Exit.OK


def _tell(done: Pruned, args: argparse.Namespace) -> None:
    for (source, kind), (count, size) in sorted(done.by.items()):
        if args.json:
            emit({"source": source, "kind": kind, "messages": count, "bytes": size, "dry_run": args.dry_run})
        else:
            print(f"{count:>9,}  {size:>15,}  {source}  {kind}")
    what = "到期可删除 / would go" if args.dry_run else "已删除原文 / let go"
    say(f"{what}: {done.removed:,}；到期仍被引用 / still needed: {done.needed:,}；查看 / looked at: {done.looked:,}")
