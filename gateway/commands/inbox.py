"""`gateway inbox list|show|groups|replay`: what was received, what became of it, and once more."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..errors import ConfigError
from ..inbox.groups import groups, place_of
from ..inbox.queue import Entry, Inbox, open_inbox
from ..model.outcome import State
from ..model.times import instant_text
from ..store.peek import outcome_of
from .talk import Exit, emit, say

_MOST = 100_000  # messages looked through


def run(args: argparse.Namespace) -> int:
    """Dispatch."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    action = {"list": _list, "show": _show, "groups": _groups, "replay": _replay}[args.action]
    async with opened(args.home) as inbox:
        return await action(inbox, args)


@asynccontextmanager
async def opened(home: str) -> AsyncIterator[Inbox]:
    """The inbox of a home folder. Raises ConfigError where no gateway ever ran: a look must not make one."""
    if not (Path(home) / "inbox.db").is_file():
        raise ConfigError(
            f"--home {home}", "no inbox.db there", detail_zh="那里没有 inbox.db，请用 --home 指明网关的数据目录。"
        )
    inbox = await open_inbox(Path(home))
    try:
        yield inbox
    finally:
        await inbox.close()


async def _list(inbox: Inbox, args: argparse.Namespace) -> int:
    state = State(args.state) if args.state else None
    most = args.limit if args.since is None and args.until is None else _MOST
    entries = await inbox.messages.entries(state=state, source=args.source, reason=args.reason, limit=most)
    for entry in [one for one in entries if _in_time(one, args)][: args.limit]:
        if args.json:
            emit(_fields(entry))
        else:
            at = instant_text(entry.at)[:19]
            print(f"{entry.key:>8}  {at}  {entry.state:<11} {entry.reason:<10} {entry.source}  {entry.name}")
    return Exit.OK


async def _groups(inbox: Inbox, args: argparse.Namespace) -> int:
    for one in groups(await _chosen(inbox, args)):
        first, last = instant_text(one.first), instant_text(one.last)
        if args.json:
            emit({**{name: getattr(one, name) for name in ("source", "code", "place", "count", "sample")},
                  "first": first, "last": last})  # fmt: skip
        else:
            print(f"{one.count:>7}  {one.code}  {first[:19]} – {last[:19]}  {one.sample:>8}  {one.source}  {one.place}")
    return Exit.OK


async def _chosen(inbox: Inbox, args: argparse.Namespace) -> list[Entry]:
    """Messages by state, source, reason, time of arrival and place of the fault, newest first."""
    state = State(args.state) if args.state else State.QUARANTINED
    found = await inbox.messages.entries(state=state, source=args.source, reason=args.reason, limit=_MOST)
    return [one for one in found if args.place in ("", place_of(one)) and _in_time(one, args)]


def _in_time(entry: Entry, args: argparse.Namespace) -> bool:
    return (args.since is None or entry.at >= args.since) and (args.until is None or entry.at < args.until)


async def _show(inbox: Inbox, args: argparse.Namespace) -> int:
    entry, raw = await inbox.messages.entry(args.key), await inbox.messages.raw(args.key)
    if entry is None or raw is None:
        say(f"{args.key}: 没有这条消息 / no such message")
        return Exit.USAGE
    outcome = entry.outcome or (outcome_of(Path(args.home), entry.key) or b"").decode()
    fields = _fields(entry) | {"outcome": json.loads(outcome) if outcome else None}
    if args.json:
        emit(fields | {"body": _text(raw.body)})
        return Exit.OK
    print(json.dumps(fields, ensure_ascii=False, indent=2))
    if raw.format != "dicom":
        print(_text(raw.body).replace("\r\n", "\n").replace("\r", "\n"))
    return Exit.OK


def _text(body: bytes) -> str:
    """The body as text, in UTF-8 or else in the GB18030 most older systems send."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("gb18030", "replace")


async def _replay(inbox: Inbox, args: argparse.Namespace) -> int:
    keys = list(args.keys)
    if any((args.state, args.reason, args.source, args.place, args.since, args.until)):
        keys += [entry.key for entry in await _chosen(inbox, args)]
    if not keys:
        say("没有选中消息：给出编号，或 --state、--reason、--source、--place、--since、--until / nothing chosen")
        return Exit.USAGE
    count = await inbox.replay(keys)
    if args.json:
        emit({"asked": len(keys), "replayed": count})
    say(f"{count} / {len(keys)} 条消息等待重新处理 / messages will be processed again")
    return Exit.OK if count == len(keys) else Exit.PARTIAL


def _fields(entry: Entry) -> dict[str, object]:
    return {
        "key": entry.key, "source": entry.source, "format": entry.format, "name": entry.name,
        "control": entry.control, "at": instant_text(entry.at), "state": entry.state.value,
        "reason": entry.reason, "size": entry.size, "held": entry.held,
    }  # fmt: skip
