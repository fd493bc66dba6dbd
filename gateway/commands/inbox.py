"""`gateway inbox list|show|groups|replay`: what was received, what became of it, and once more."""

from __future__ import annotations

import argparse
import asyncio
import json

from ..inbox.groups import groups, place_of, version_of
from ..inbox.queue import Entry
from ..model.outcome import State
from ..model.times import instant_text
from .beside import Beside, beside
from .talk import Exit, emit, say, told

_MOST = 100_000  # messages looked through
_PAGE = 500
_CHOICES = ("state", "reason", "source", "place", "mapping_version", "since", "until")


def run(args: argparse.Namespace) -> int:
    """Dispatch."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    action = {"list": _list, "show": _show, "groups": _groups, "replay": _replay}[args.action]
    async with beside(args) as at:
        return await action(at, args)


async def _list(at: Beside, args: argparse.Namespace) -> int:
    for entry in (await _chosen(at, args))[: args.limit]:
        if args.json:
            emit(_fields(entry))
        else:
            print(
                f"{entry.key:>8}  {told(entry.at)}  {entry.state:<11} {entry.reason:<10} {entry.source}  {entry.name}"
            )
    return Exit.OK


async def _groups(at: Beside, args: argparse.Namespace) -> int:
    for one in groups(await _chosen(at, args)):
        if args.json:
            emit({**{name: getattr(one, name) for name in ("source", "code", "place", "count", "sample", "mappings")},
                  "first": instant_text(one.first), "last": instant_text(one.last)})  # fmt: skip
        else:
            when, versions = f"{told(one.first)} – {told(one.last)}", " ".join(one.mappings)
            line = f"{one.count:>7}  {one.code}  {when}  {one.sample:>8}  {one.source}  {one.place}  {versions}"
            print(line.rstrip())
    return Exit.OK


async def _chosen(at: Beside, args: argparse.Namespace) -> list[Entry]:
    """Messages by state, source, reason, time of arrival, place of the fault and mapping version, newest first."""
    state = State(args.state) if args.state else None
    narrow = args.place or args.mapping_version or args.since or args.until
    most = _MOST if narrow or args.action != "list" else args.limit
    entries = await at.inbox.messages.entries(state=state, source=args.source, reason=args.reason, limit=most)
    found = [one for one in entries if args.place in ("", place_of(one)) and _in_time(one, args)]
    return await _of_version(at, found, args.mapping_version) if args.mapping_version else found


async def _of_version(at: Beside, entries: list[Entry], version: str) -> list[Entry]:
    """Those the mapping of this version was tried on, whatever came of it."""
    found = []
    for begin in range(0, len(entries), _PAGE):
        page = entries[begin : begin + _PAGE]
        done = await (await at.store()).done([one.key for one in page if not one.outcome])
        found += [one for one in page if version_of(one.outcome or done.get(one.key)) == version]
    return found


def _in_time(entry: Entry, args: argparse.Namespace) -> bool:
    return (args.since is None or entry.at >= args.since) and (args.until is None or entry.at < args.until)


async def _show(at: Beside, args: argparse.Namespace) -> int:
    entry, raw = await at.inbox.messages.entry(args.key), await at.inbox.messages.raw(args.key)
    if entry is None:
        say(f"{args.key}: 没有这条消息 / no such message")
        return Exit.USAGE
    outcome = entry.outcome or (await (await at.store()).done([entry.key])).get(entry.key)
    fields = _fields(entry) | {"outcome": json.loads(outcome) if outcome else None}
    if args.json:
        emit(fields | {"body": _text(raw.body) if raw else None})
        return Exit.OK
    print(json.dumps(fields, ensure_ascii=False, indent=2))
    if raw is None:
        say(f"{args.key}: 原文已按保存期删去 / the original is past the days it is kept")
    elif raw.format != "dicom":
        print(_text(raw.body).replace("\r\n", "\n").replace("\r", "\n"))
    return Exit.OK


def _text(body: bytes) -> str:
    """The body as text, in UTF-8 or else in the GB18030 most older systems send."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("gb18030", "replace")


async def _replay(at: Beside, args: argparse.Namespace) -> int:
    keys = list(args.keys)
    if any(getattr(args, name) for name in _CHOICES):
        args.state = args.state or State.QUARANTINED.value
        keys += [entry.key for entry in await _chosen(at, args)]
    if not keys:
        flags = "、".join(f"--{name.replace('_', '-')}" for name in _CHOICES)
        say(f"没有选中消息：给出编号，或 {flags} / nothing chosen")
        return Exit.USAGE
    count = await at.inbox.replay(keys)
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
