"""`gateway try`: what would become of a file. Translates, checks, shows; stores nothing."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import ConfigError, GatewayError, Invalid, MappingError, MissingFile
from ..inbound.files import files_below, read_file
from ..model.directory import Source
from ..model.ids import Ids
from ..model.message import Draft, RawMessage
from ..model.resource import Json, dumps, loads
from ..model.times import system_clock
from ..shipped import shipped
from ..translate.engine import Mappings
from ..translate.explain import written_at
from ..translate.gaps import without_numbers
from ..translate.read_v2 import Peek, ack, peek_v2, split_batch
from ..translate.strict_yaml import near_to
from ..validate.elements import R4Elements
from ..validate.structure import check_draft
from .talk import Exit, say

_KEY = b"gateway try: no store, so no secret"


def mappings_of(own: str, flag: str = "--mappings") -> Mappings:
    """The operator's folder over the shipped one."""
    return Mappings.load(folders_of(own, flag), elements=R4Elements(), check=False)


def folders_of(own: str, flag: str = "--mappings") -> list[Path]:
    """The operator's folder, if one is named, then the shipped one. Raises MissingFile. flag: what named it."""
    if own and not Path(own).is_dir():
        raise MissingFile(f"{flag} {own}")
    return [*([Path(own)] if own else []), shipped("mappings")]


def source_of(mappings: Mappings, name: str, flag: str = "--source") -> Source:
    """The source of that name. Raises ConfigError naming those there are. flag: what named it."""
    found = mappings.directory.sources.get(name)
    if found is None:
        names = sorted(mappings.directory.sources)
        (near, near_zh), known = near_to(name, names), ", ".join(names)
        zh = f"这些映射里没有这个来源{near_zh or '；'}有：{known}。"
        raise ConfigError(f"{flag} {name}", f"no such source{near or ';'} there are {known}", detail_zh=zh)
    return found


def run_try(args: argparse.Namespace) -> int:
    """Every file; exit 5 when one could not be translated."""
    mappings = mappings_of(args.mappings)
    source = source_of(mappings, args.source)
    paths = [path for name in args.files for path in files_below(Path(name))]
    if not paths:
        say("没有文件可译，目录是空的 / no file: the folder is empty")
        return Exit.USAGE
    failed = 0
    for path in paths:
        for answer in _tried(path, mappings, source):
            failed += answer["outcome"] != "ok"
            print(dumps(answer).decode()) if args.json else show(answer, source)
    return Exit.PARTIAL if failed else Exit.OK


def _tried(path: Path, mappings: Mappings, source: Source) -> list[Json]:
    body = read_file(path, source.format)
    form = mappings.sniff(body) if source.format == "any" else source.format
    bodies = split_batch(body) if form == "v2" else [body]
    return [tried(str(path), form, one, mappings, source) for one in bodies]


def tried(name: str, form: str, body: bytes, mappings: Mappings, source: Source) -> Json:
    """What would become of one message, as `--json` prints it."""
    answer: Json = {"file": name, "format": form, "charset": "", "outcome": "ok", "ack": "", "bundle": None}
    answer |= {"unused": [], "findings": []}
    fault: GatewayError | None = None
    raw = RawMessage("m0", source.name, form, body, system_clock(), Path(name).name)
    try:
        draft = mappings.translate(raw, source, Ids(_KEY), system_clock())
        answer |= _translated(draft)
    except MappingError:  # nothing is wrong with the file
        raise
    except GatewayError as error:
        fault = error
        answer |= {"outcome": error.code, "findings": [_finding(one) for one in _faults(error)]}
    if isinstance(fault, Invalid):
        for one in answer["findings"]:
            one["rules"] = written_at(mappings, raw, source, one["place"])
    if form == "v2":
        answer |= _acknowledged(body, fault)
    return answer


def _translated(draft: Draft) -> Json:
    people = [one.resource for one in draft.records]
    entries = [{"resource": one} for one in people] + [{"resource": loads(one.body)} for one in draft.resources]
    check_draft(draft)
    return {
        "charset": draft.facts.get("charset", ""),
        "kind": draft.kind,
        "bundle": {"resourceType": "Bundle", "type": "collection", "entry": entries},
        "unused": [{"place": one.place, "because": one.because} for one in draft.unused],
        "findings": [_finding(one) for one in draft.findings],
    }


def _faults(error: GatewayError) -> tuple[Any, ...]:
    return getattr(error, "findings", ()) or (error.finding(),)


def _finding(one: Any) -> Json:
    return {"code": one.code, "severity": one.severity, "place": one.place, "zh": one.zh, "en": one.en}


def _acknowledged(body: bytes, fault: GatewayError | None) -> Json:
    try:
        peek = peek_v2(body)
    except GatewayError as error:
        peek, fault = Peek.of_broken(body), error
    answer = ack(peek, fault.ack[0] if fault else "AA", fault, system_clock())
    sender = f"{peek.msh3}/{peek.msh4}"
    return {"ack": answer.decode(peek.charset, "replace"), "charset": peek.charset, "sender": sender}


def _by_field(places: list[str]) -> list[str]:
    """A field of many rows once, with their number."""
    first = {without_numbers(one): one for one in reversed(places)}
    counts = Counter(map(without_numbers, places))
    return [f"{field}（{count} 处）" if count > 1 else first[field] for field, count in counts.items()]


def show(answer: Json, source: Source) -> None:
    """For a person: the verdict on stderr, the FHIR on stdout."""
    lost = _by_field([one["place"] for one in answer["unused"] if not one["because"]])
    say(f"{answer['file']}: {answer['format']} {answer.get('kind', '')} {answer['charset']} {answer['outcome']}")
    for one in answer["findings"]:
        say(f"  {one['severity']:<11} {one['code']} {one['place']}  {one['zh']}")
        for rule in one.get("rules", ()):
            say(f"              规则 {rule}")
    known = "/".join(source.settings.get(key, "") for key in ("msh3", "msh4"))
    if answer["bundle"] and known not in ("/", answer.get("sender", known)):
        say(f"  MSH-3/MSH-4 是 {answer['sender']}，来源 {source.name} 登记的是 {known}：按 MLLP 发送会被拒绝")
    if answer["bundle"]:
        say(f"  未用字段 {len(lost)}：{' '.join(lost)}" if lost else "  未用字段 0：每个字段都有去处")
    if answer["ack"]:
        say("  " + answer["ack"].strip().replace("\r", "\n  "))
    if answer["bundle"]:
        print(dumps(answer["bundle"]).decode())
