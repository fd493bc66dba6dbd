"""`gateway map explain|diff|gaps`: mappings against the messages an inbox has kept. Nothing is changed."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict

from ..errors import ConfigError, GatewayError, MissingFile, UnknownSource
from ..inbox.kept import kept
from ..model.ids import Ids
from ..model.message import RawMessage
from ..model.times import instant_text
from ..security import redact
from ..translate.compare import Change, changes, grouped
from ..translate.engine import Mappings
from ..translate.explain import Origin, elements, origins
from ..translate.gaps import Gaps, as_sent
from ..translate.senders import sender_of
from ..validate.structure import check_draft
from .beside import Beside, beside, settings_of
from .maps import GOLDEN_KEY
from .talk import Exit, emit, say, told
from .translate import mappings_of, source_of


def explain(args: argparse.Namespace) -> int:
    """Message, field, rule and table row of one element of one stored resource."""
    return asyncio.run(_explain(args))


async def _explain(args: argparse.Namespace) -> int:
    mappings = _mappings(args)
    reference, path = args.resource, args.element.removeprefix(args.resource.partition("/")[0] + ".")
    has: set[str] = set()
    tried = 0
    async with beside(args) as at:
        ids = Ids((await at.store()).store_key)
        async for raw in _makers(at, args):
            tried += 1
            found = _origins(mappings, raw, ids, reference, path, has)
            for one in found:
                emit(_json(raw, one)) if args.json else _show(raw, reference, one)
            if found:
                return Exit.OK
    say(f"{reference} {path}: 保存的消息都没有产生这个元素 / no kept message made this element")
    if has:
        say(f"  有的元素 / there are: {', '.join(sorted(has))}")
    if not tried:
        say("  库里没有由保存的消息产生的这个资源，请核对编号 / no kept message made this resource")
    return Exit.PARTIAL


async def _makers(at: Beside, args: argparse.Namespace) -> AsyncIterator[RawMessage]:
    """The kept messages that made the resource, or the one that was named. Raises MissingFile for one never kept."""
    if args.message and await at.inbox.messages.entry(args.message) is None:
        raise MissingFile(f"--message {args.message}", "no such message", detail_zh="没有这条消息。")
    for key in [args.message] if args.message else await (await at.store()).messages_of(args.resource):
        raw = await at.inbox.messages.raw(key)
        if raw:
            yield raw


def _mappings(args: argparse.Namespace, named: str = "mappings") -> Mappings:
    """Those of the flag, else those the settings file of `--config` names, else the shipped ones alone."""
    own = getattr(args, named)
    return (
        mappings_of(own, f"--{named}") if own else mappings_of(settings_of(args).gateway.mappings, "gateway.mappings")
    )


def _origins(mappings: Mappings, raw: RawMessage, ids: Ids, reference: str, path: str, has: set[str]) -> list[Origin]:
    """has: gets the elements there are, when this one is not among them."""
    try:
        source = sender_of(raw, mappings.directory)
        found = origins(mappings, raw, source, ids, raw.received_at, reference, path)
        has.update([] if found else elements(mappings, raw, source, ids, raw.received_at, reference))
        return found
    except UnknownSource as fault:
        text = f"these mappings have no source {raw.source}, which sent {raw.key}"
        zh = f"这些映射里没有 {raw.key} 的来源 {raw.source}：请用 --mappings 或 --config 指明它自己的映射。"
        raise ConfigError("--mappings", text, detail_zh=zh) from fault
    except GatewayError as fault:
        say(f"{raw.key}: 现在的映射不能处理这条消息 / not translated: {fault.code} {fault.sentence_zh()}")
        return []


def _json(raw: RawMessage, one: Origin) -> dict[str, object]:
    message = {"message": raw.key, "source": raw.source, "received": instant_text(raw.received_at)}
    return message | asdict(one) | {"value": json.loads(one.value)}


def _show(raw: RawMessage, reference: str, one: Origin) -> None:
    print(f"{reference} {one.element} = {one.value}")
    print(f"  消息  {raw.key}  {raw.source}  {told(raw.received_at)}")
    for read in one.reads:
        for name, place, text in read.inputs:
            if text:
                print(f"  字段  {place} = {text}" + (f"  （{name}）" if name != "from" else ""))
    if not one.reads:
        print("  字段  无：常量、引用或网关自己给出的值")
    print(f"  规则  {one.rule}  {one.line}")
    for read in one.reads:
        if read.line != one.line:
            print(f"        {read.path}  {read.line}")
    for row in one.rows:
        print(f"  码表  {row.place}  " + "  ".join(f"{key}={text}" for key, text in row.cells))


def diff(args: argparse.Namespace) -> int:
    """What other mappings would make of the newest kept messages; exit 5 when one would be refused."""
    old, new = _mappings(args, "old"), mappings_of(args.mappings)
    if args.source:
        source_of(old if args.source in old.directory.sources else new, args.source)
    ids, raws = asyncio.run(_newest(args))
    found = list(changes(old, new, raws, ids, check_draft))
    for line in _lines(found, as_json=args.json, full=args.full):
        print(line)
    touched = len({one.key for one in found})
    say(f"{len(raws)} 条消息中 {touched} 条会有变化 / {touched} of {len(raws)} messages would change")
    return Exit.PARTIAL if any(one.what == "refused" for one in found) else Exit.OK


async def _newest(args: argparse.Namespace) -> tuple[Ids, list[RawMessage]]:
    """The store's ids, so that a changed resource can be looked up, and the messages."""
    async with beside(args) as at:
        return Ids((await at.store()).store_key), [raw async for raw in kept(at.inbox, args.source, args.last)]


def _lines(found: list[Change], *, as_json: bool, full: bool) -> Iterator[str]:
    shown = found if full else grouped(found)
    for one in shown:
        if as_json:
            yield json.dumps(asdict(one), ensure_ascii=False)
        elif isinstance(one, Change):
            yield one.shown()
        else:
            yield f"{one.count:>7}  {one.what:<8} {one.source}  {one.kind}  {one.element}  {one.newest}"


def gaps(args: argparse.Namespace) -> int:
    """Unmapped codes, unknown units and unused fields over everything the inbox holds, the most frequent first."""
    missed, unread = asyncio.run(_missed(args))
    ranked = missed.ranked()
    for gap in ranked:
        if args.json:
            about = {"kind": gap.kind, "source": gap.source, "what": gap.en, "place": gap.place, "count": gap.count}
            emit(about | {"sample": gap.sample, "message": gap.newest})
        else:
            where = f"{gap.zh}  {gap.place}" if gap.kind == "error" else f"{gap.zh}  {gap.sample}"
            print(f"{gap.count:>7}  {gap.kind:<5}  {gap.source}  {gap.newest}  {where}".rstrip())
    kinds = Counter(gap.kind for gap in ranked)
    codes, lost = kinds["code"] + kinds["unit"], kinds["field"]
    say(f"{codes} 个未映射代码或单位，{lost} 个未用字段 / unmapped codes and units, unused fields")
    if kinds["error"]:
        say(f"{kinds['error']} 种错误，出错的行或部分没有入库 / errors; their rows or parts were left out")
    for (source, code), count in sorted(unread.items()):
        zh = GatewayError.of(code).zh
        if code == UnknownSource.code:
            zh = "这些映射里没有这个来源，请用 --mappings 或 --config 指明它自己的映射。"
        say(f"没有计入 / not counted: {count} × {source} {code} {zh}")
    return Exit.OK


async def _missed(args: argparse.Namespace) -> tuple[Gaps, Counter[tuple[str, str]]]:
    """What is missing, and how many messages of which source could not be translated, by code."""
    mappings, found, unread = _mappings(args), Gaps(), Counter[tuple[str, str]]()
    if args.source:
        source_of(mappings, args.source)
    async with beside(args) as at:
        async for raw in kept(at.inbox, args.source):
            try:
                _count(found, raw, mappings)
            except GatewayError as fault:
                unread[raw.source, fault.code] += 1
    return found, unread


def _count(found: Gaps, raw: RawMessage, mappings: Mappings) -> None:
    draft, traces = mappings.trace(raw, sender_of(raw, mappings.directory), Ids(GOLDEN_KEY), raw.received_at)
    sample = as_sent(traces)
    found.add(raw.source, raw.key, draft.findings, draft.unused, lambda one: redact.text(sample(one)))
