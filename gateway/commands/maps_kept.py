"""`gateway map explain|diff|gaps`: mappings against the messages an inbox has kept. Nothing is changed."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from ..errors import GatewayError
from ..inbox.kept import kept
from ..model.ids import Ids
from ..model.message import RawMessage
from ..model.outcome import Finding
from ..model.times import instant_text, system_clock
from ..security import redact
from ..store.peek import key_of, messages_of
from ..translate.compare import Change, changes, grouped
from ..translate.engine import Mappings
from ..translate.explain import Origin, origins
from ..translate.gaps import Gaps
from ..translate.run import Trace
from .inbox import opened
from .maps import GOLDEN_KEY
from .talk import Exit, emit, say
from .translate import folders_of, mappings_of, source_of


def explain(args: argparse.Namespace) -> int:
    """Message, field, rule and table row of one element of one stored resource."""
    return asyncio.run(_explain(args))


async def _explain(args: argparse.Namespace) -> int:
    home, mappings = Path(args.home), mappings_of(args.mappings)
    reference, path = args.resource, args.element.removeprefix(args.resource.partition("/")[0] + ".")
    async with opened(args.home) as inbox:
        ids = Ids(key_of(home))
        for key in [args.message] if args.message else messages_of(home, reference):
            raw = await inbox.messages.raw(key)
            found = _origins(mappings, raw, ids, reference, path) if raw else []
            if raw and found:
                for one in found:
                    emit(_json(raw, one)) if args.json else _show(raw, reference, one)
                return Exit.OK
    say(f"{reference} {path}: 保存的消息都没有产生这个元素 / no kept message made this element")
    return Exit.PARTIAL


def _origins(mappings: Mappings, raw: RawMessage, ids: Ids, reference: str, path: str) -> list[Origin]:
    source = source_of(mappings, raw.source)
    try:
        return origins(mappings, raw, source, ids, raw.received_at, reference, path)
    except GatewayError:
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
    old = mappings_of(args.old)
    new = Mappings.load(folders_of(args.mappings), check=False)
    raws = asyncio.run(_newest(args.home, args.source, args.last))
    found = list(changes(old, new, raws, Ids(GOLDEN_KEY)))
    for line in _lines(found, as_json=args.json, full=args.full):
        print(line)
    touched = len({one.key for one in found})
    say(f"{len(raws)} 条消息中 {touched} 条会有变化 / {touched} of {len(raws)} messages would change")
    return Exit.PARTIAL if any(one.what == "refused" for one in found) else Exit.OK


async def _newest(home: str, source: str, most: int) -> list[RawMessage]:
    async with opened(home) as inbox:
        return [raw async for raw in kept(inbox, source, most)]


def _lines(found: list[Change], *, as_json: bool, full: bool) -> Iterator[str]:
    shown = found if full else grouped(found)
    for one in shown:
        if as_json:
            yield json.dumps(asdict(one), ensure_ascii=False)
        elif isinstance(one, Change):
            yield f"{one.key}  {one.what:<8} {one.resource} {one.element}\n  - {one.before}\n  + {one.after}"
        else:
            yield f"{one.count:>7}  {one.what:<8} {one.source}  {one.kind}  {one.element}  {one.newest}"


def gaps(args: argparse.Namespace) -> int:
    """Unmapped codes, unknown units and unused fields over everything the inbox holds, the most frequent first."""
    ranked = asyncio.run(_missed(args)).ranked()
    for gap in ranked:
        if args.json:
            about = {"kind": gap.kind, "source": gap.source, "what": gap.en, "place": gap.place, "count": gap.count}
            emit(about | {"sample": gap.sample, "message": gap.newest})
        else:
            print(f"{gap.count:>7}  {gap.kind:<5}  {gap.source}  {gap.newest}  {gap.en}  {gap.sample}".rstrip())
    lost = sum(gap.kind == "field" for gap in ranked)
    say(f"{len(ranked) - lost} 个未映射代码或单位，{lost} 个未用字段 / unmapped codes and units, unused fields")
    return Exit.OK


async def _missed(args: argparse.Namespace) -> Gaps:
    mappings, found = mappings_of(args.mappings), Gaps()
    async with opened(args.home) as inbox:
        async for raw in kept(inbox, args.source):
            _count(found, raw, mappings)
    return found


def _count(found: Gaps, raw: RawMessage, mappings: Mappings) -> None:
    try:
        draft, traces = mappings.trace(raw, source_of(mappings, raw.source), Ids(GOLDEN_KEY), system_clock())
    except GatewayError:
        return
    found.add(raw.source, raw.key, draft.findings, draft.unused, partial(_sample, _inputs(traces)))


Inputs = dict[str, dict[str, str]]


def _inputs(traces: list[Trace]) -> Inputs:
    """What expressions with a code table read, by the place they read first."""
    found: Inputs = {}
    for read in (read for trace in traces for read in trace.reads if read.tables):
        found.setdefault(read.inputs[0][1], {}).update({name: text for name, _, text in read.inputs if text})
    return found


def _sample(found: Inputs, finding: Finding) -> str:
    """The code with its name and unit, or the unit alone: never a result or anything else of the patient."""
    names = ("unit",) if finding.code == "GW-MAP-004" else ("from", "text", "unit")
    inputs = found.get(finding.place, {})
    return " · ".join(redact.text(inputs[name][:60]) for name in names if name in inputs)
