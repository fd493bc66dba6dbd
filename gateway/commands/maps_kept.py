"""`gateway map explain|diff|gaps`: mappings against the messages an inbox has kept. Nothing is changed."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from ..errors import GatewayError, UnknownSource
from ..inbox.kept import kept
from ..model.ids import Ids
from ..model.message import RawMessage
from ..model.times import instant_text
from ..security import redact
from ..translate.compare import Change, changes, grouped
from ..translate.engine import Mappings
from ..translate.explain import Origin, origins
from ..translate.gaps import Gaps, as_sent
from .beside import beside, settings_of
from .maps import GOLDEN_KEY
from .talk import Exit, emit, say
from .translate import mappings_of, source_of


def explain(args: argparse.Namespace) -> int:
    """Message, field, rule and table row of one element of one stored resource."""
    return asyncio.run(_explain(args))


async def _explain(args: argparse.Namespace) -> int:
    mappings = _mappings(args)
    reference, path = args.resource, args.element.removeprefix(args.resource.partition("/")[0] + ".")
    async with beside(args) as at:
        ids = Ids((await at.store()).store_key)
        for key in [args.message] if args.message else await (await at.store()).messages_of(reference):
            raw = await at.inbox.messages.raw(key)
            found = _origins(mappings, raw, ids, reference, path) if raw else []
            if raw and found:
                for one in found:
                    emit(_json(raw, one)) if args.json else _show(raw, reference, one)
                return Exit.OK
    say(f"{reference} {path}: 保存的消息都没有产生这个元素 / no kept message made this element")
    return Exit.PARTIAL


def _mappings(args: argparse.Namespace, named: str = "mappings") -> Mappings:
    """Those of the flag, else those the settings file of `--config` names, else the shipped ones alone."""
    return mappings_of(getattr(args, named) or settings_of(args).gateway.mappings)


def _origins(mappings: Mappings, raw: RawMessage, ids: Ids, reference: str, path: str) -> list[Origin]:
    source = source_of(mappings, raw.source)
    try:
        return origins(mappings, raw, source, ids, raw.received_at, reference, path)
    except GatewayError as fault:
        say(f"{raw.key}: 现在的映射不能处理这条消息 / not translated: {fault.code} {fault.sentence_zh()}")
        return []


def _json(raw: RawMessage, one: Origin) -> dict[str, object]:
    message = {"message": raw.key, "source": raw.source, "received": instant_text(raw.received_at)}
    return message | asdict(one) | {"value": json.loads(one.value)}


def _show(raw: RawMessage, reference: str, one: Origin) -> None:
    print(f"{reference} {one.element} = {one.value}")
    print(f"  消息  {raw.key}  {raw.source}  {instant_text(raw.received_at)[:19]}")
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
    raws = asyncio.run(_newest(args))
    found = list(changes(old, new, raws, Ids(GOLDEN_KEY)))
    for line in _lines(found, as_json=args.json, full=args.full):
        print(line)
    touched = len({one.key for one in found})
    say(f"{len(raws)} 条消息中 {touched} 条会有变化 / {touched} of {len(raws)} messages would change")
    return Exit.PARTIAL if any(one.what == "refused" for one in found) else Exit.OK


async def _newest(args: argparse.Namespace) -> list[RawMessage]:
    async with beside(args) as at:
        return [raw async for raw in kept(at.inbox, args.source, args.last)]


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
            print(f"{gap.count:>7}  {gap.kind:<5}  {gap.source}  {gap.newest}  {gap.zh}  {gap.sample}".rstrip())
    lost = sum(gap.kind == "field" for gap in ranked)
    say(f"{len(ranked) - lost} 个未映射代码或单位，{lost} 个未用字段 / unmapped codes and units, unused fields")
    for (source, code), count in sorted(unread.items()):
        say(f"没有计入 / not counted: {count} × {source} {code} {GatewayError.of(code).zh}")
    return Exit.OK


async def _missed(args: argparse.Namespace) -> tuple[Gaps, Counter[tuple[str, str]]]:
    """What is missing, and how many messages of which source could not be translated, by code."""
    mappings, found, unread = _mappings(args), Gaps(), Counter[tuple[str, str]]()
    async with beside(args) as at:
        async for raw in kept(at.inbox, args.source):
            try:
                _count(found, raw, mappings)
            except GatewayError as fault:
                unread[raw.source, fault.code] += 1
    return found, unread


def _count(found: Gaps, raw: RawMessage, mappings: Mappings) -> None:
    source = mappings.directory.sources.get(raw.source)
    if source is None:
        raise UnknownSource(raw.source)
    draft, traces = mappings.trace(raw, source, Ids(GOLDEN_KEY), raw.received_at)
    sample = as_sent(traces)
    found.add(raw.source, raw.key, draft.findings, draft.unused, lambda one: redact.text(sample(one)))
