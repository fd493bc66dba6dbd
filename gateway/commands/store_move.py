"""`gateway store move`: everything of an embedded store into PostgreSQL, compared table by table."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

from ..errors import ConfigError, StoreError
from ..inbox.queue import open_inbox
from ..model.times import system_clock
from ..store.audit_log import Head
from ..store.resources import ResourceStore, open_store
from ..store.sqlite_file import say_moved
from .beside import home_of
from .talk import Exit, emit, rows_done, say


def run(args: argparse.Namespace, url: str) -> int:
    """Nothing is there afterwards, or all of it. Raises ConfigError, StoreError."""
    home = home_of(url)
    if home is None or not args.to.startswith("postgres"):
        zh = "只能从内嵌的数据目录（--home 或 --config）移到 --to postgresql://…。"
        raise ConfigError("--to", "from a home to postgresql://…", detail_zh=zh)
    head = asyncio.run(_ready(home, url))
    from ..store.move import at_rest, move, rows_of  # psycopg comes with the extra `postgres`

    began = time.monotonic()
    with at_rest(home) as source:
        total = rows_of(source)
        with rows_done(2 * total) as progress:
            moved = move(source, args.to, progress)
        asyncio.run(_same_chain(args.to, head))
        say_moved(home, moved.where)
    seconds = time.monotonic() - began
    for name, (rows, content) in moved.tables.items():
        emit({"table": name, "rows": rows, "hash": content}) if args.json else print(f"{rows:>15,}  {content}  {name}")
    say(f"已移动 {total:,} 行，用时 {seconds:.0f} 秒；两边的行数与内容摘要逐表一致 / moved, counts and hashes agree")
    say(f"审计链完整，链尾 / the audit chain is whole, its end: {head}")
    say(f"请把 store.url 设为目标后启动网关；{home} 已停用，确认无误后再删 / set store.url; the home serves no more")
    return Exit.OK


async def _ready(home: Path, url: str) -> Head:
    """The end of the chain of a store at rest: its schemas of this release, its index whole, every row sealed."""
    store = await open_store(url, clock=system_clock)
    try:
        if await store.reindex_due():
            zh = "索引须先重建：gateway store reindex。"
            raise ConfigError(str(home), "run `gateway store reindex` first", detail_zh=zh)
        head = await _head_of(store)
    finally:
        await store.close()
    await (await open_inbox(home, url)).close()
    return head


async def _same_chain(url: str, head: Head) -> None:
    store = await open_store(url, clock=system_clock)
    try:
        if (found := await _head_of(store)) != head:
            zh = f"目标的审计链以 {found} 结尾，不是 {head}。"
            raise StoreError("audit", f"its chain ends in {found}, not in {head}", detail_zh=zh)
    finally:
        await store.close()


async def _head_of(store: ResourceStore) -> Head:
    """The end of a chain that is whole and has every row. Raises StoreError."""
    await store.audit_log.seal()
    if broken := (await store.audit_log.verify()).broken:
        zh = f"审计链在第 {broken} 条断开，请先查明。"
        raise StoreError("audit", f"the chain is broken at row {broken}", detail_zh=zh)
    return await store.audit_log.head()
