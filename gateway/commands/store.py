"""`gateway store …`: its size, its integrity, its index, copies of it, its way into another engine."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from ..inbox.queue import open_inbox
from ..model.times import system_clock
from ..shipped import folders
from ..store import backup_sqlite
from ..store.archive import Manifest
from ..store.audit_log import Head
from ..store.index import keep_parameters
from ..store.peek import stats
from ..store.resources import open_store
from . import store_move
from .beside import home_of, must_be_there, settings_of, url_of
from .talk import Exit, bytes_done, counted, emit, say


def run(args: argparse.Namespace) -> int:
    """Dispatch."""
    settings = settings_of(args)
    keep_parameters(folders(settings.gateway.profiles, "profiles"))
    url = url_of(args, settings)
    if args.action == "restore":
        return _restore(args, url)
    must_be_there(url, "store.db")
    if args.action == "stats":
        return _stats(args, url)
    if args.action == "backup":
        return _backup(args, url)
    if args.action == "move":
        return store_move.run(args, url)
    return asyncio.run(_AFTER_OPENING[args.action](args, url))


def _stats(args: argparse.Namespace, url: str) -> int:
    home = home_of(url)
    if home is not None:
        figures = stats(home)
    else:
        from ..store.backup_postgres import figures_of  # psycopg comes with the extra `postgres`

        figures = figures_of(url)
    for name, value in figures.items():
        emit({name: value}) if args.json else print(f"{value:>15,}  {name}")
    return Exit.OK


def _backup(args: argparse.Namespace, url: str) -> int:
    home, path = home_of(url), Path(args.file)
    with bytes_done() as progress:
        if home is not None:
            manifest = backup_sqlite.backup(home, path, progress)
        else:
            from ..store.backup_postgres import backup

            manifest = backup(url, path, progress)
    size = path.stat().st_size
    if args.json:
        emit(_said(manifest) | {"file": str(path), "bytes": size})
    say(f"已备份到 {path}（{size:,} 字节）；其中有存储密钥，请妥善保管 / backed up, keep it as secret as the store")
    return Exit.OK


def _restore(args: argparse.Namespace, url: str) -> int:
    home, path = home_of(url), Path(args.file)
    with bytes_done() as progress:
        if home is not None:
            manifest = backup_sqlite.restore(path, home, progress)
        else:
            from ..store.backup_postgres import restore

            manifest = restore(path, url, progress)
    if args.json:
        emit(_said(manifest))
    say(f"已恢复 {manifest.at} 的备份，行数与摘要一致 / restored, counts and hashes agree")
    return asyncio.run(_verify(args, url))


def _said(manifest: Manifest) -> dict[str, object]:
    return {"engine": manifest.engine, "at": manifest.at, "release": manifest.release, "counts": manifest.counts}


async def _migrate(args: argparse.Namespace, url: str) -> int:
    """Opening does it, each numbered step in a transaction of its own."""
    store = await open_store(url, clock=system_clock)
    await store.close()
    await (await open_inbox(home_of(url) or Path(), url)).close()
    if args.json:
        emit({"migrated": True})
    say("数据结构已是本版本 / the schema is of this release")
    return Exit.OK


async def _reindex(args: argparse.Namespace, url: str) -> int:
    """What current versions are found by, made again; on SQLite the gateway of this home must be stopped."""
    store = await open_store(url, clock=system_clock)
    try:
        with counted("重建索引 / reindexing") as told:
            done = await store.reindex(told)
    finally:
        await store.close()
    if args.json:
        emit({"reindexed": done})
    say(f"{done:,} 条当前版本的索引已重建 / current versions indexed again")
    return Exit.OK


async def _verify(args: argparse.Namespace, url: str) -> int:
    """Checks the whole chain; on SQLite the gateway of this home must be stopped."""
    store = await open_store(url, clock=system_clock)
    try:
        noted = Head(*args.head) if args.head else None
        verdict, head = await store.audit_log.verify(noted), await store.audit_log.head()
    finally:
        await store.close()
    if args.json:
        emit({"checked": verdict.checked, "broken": verdict.broken, "head": str(head)})
    if verdict.broken:
        say(f"审计链在第 {verdict.broken} 条断开 / the audit chain is broken at row {verdict.broken}")
        return Exit.PARTIAL
    say(f"审计链完整，共 {verdict.checked} 条 / the audit chain is whole, {verdict.checked} rows")
    say(f"链尾，请记在别处 / its end, to be noted elsewhere: {head}")
    return Exit.OK


_AFTER_OPENING = {"migrate": _migrate, "reindex": _reindex, "verify": _verify}
