"""`gateway map check|test`: does it compile, does it make what was expected."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Invalid, MappingError, MissingFile, TranslateError
from ..model.directory import Directory
from ..model.ids import Ids
from ..model.message import Draft, RawMessage
from ..model.resource import Json, loads
from ..model.times import system_clock
from ..recognise.check import check as check_rules
from ..recognise.rules import load as load_rules
from ..shipped import shipped
from ..translate.compare import Change, between
from ..translate.declared import declared_ranges
from ..translate.engine import Mappings
from ..validate.elements import R4Elements
from ..validate.structure import check_draft
from .talk import Exit, emit, say
from .translate import folders_of, mappings_of, source_of

GOLDEN_KEY = b"golden"  # expected results are made with these ids; a store has its own key


def check(args: argparse.Namespace) -> int:
    """Every map of every source compiled, every table and published interval read, and a recognition sheet if named."""
    loaded = Mappings.load(folders_of(args.mappings), elements=R4Elements())
    declared_ranges(loaded.library, loaded.directory.members)
    sources = loaded.directory.sources
    say(f"{len(sources)} 个来源的映射都能编译 / mappings of {len(sources)} sources compile")
    for name, source in sorted(sources.items()):
        form = source.format
        kinds, own = (loaded.kinds(source, form), loaded.own_kinds(source, form)) if form != "any" else ([], [])
        if args.json:
            emit({"source": name, "format": form, "kinds": kinds, "own": own})
        else:
            sender = "/".join(source.settings[key] for key in ("msh3", "msh4") if key in source.settings)
            print(
                name,
                form,
                *filter(None, [sender]),
                f"{len(kinds)} 种消息" if kinds else "全部格式",
                *(["其中自己的映射：", *own] if own else []),
            )
    if args.rules:
        _check_rules(Path(args.rules), loaded.directory, args.json)
    return Exit.OK


def _check_rules(path: Path, directory: Directory, as_json: bool) -> None:
    """Told: how much the sheet holds, and what nothing bears out. Raises ConfigError with file and line."""
    sheet = load_rules(path)
    groups, items = len(sheet.groups), len(sheet.items)
    say(f"规则表 {sheet.title}：{groups} 组 {items} 项，可以使用 / {groups} groups and {items} items, fit for use")
    for finding in check_rules(sheet, directory, system_clock()):
        if as_json:
            emit({"code": finding.code, "place": finding.place, "zh": finding.zh, "en": finding.en})
        else:
            print(finding.code, finding.place, finding.zh)


@dataclass(frozen=True, slots=True)
class Tried:
    """A case translated again. same: as expected. changes: where it is not. fault: the sentence of its refusal.

    expected: whether it has an expected.json to be compared with; made: what an expected.json of now would hold.
    """

    name: str
    folder: Path
    expected: bool = True
    same: bool = False
    changes: tuple[Change, ...] = ()
    fault: str = ""
    made: Any = None


def test(args: argparse.Namespace) -> int:
    """Every case folder that has an expected.json, translated again and compared; --write makes the missing ones."""
    root = _root(args)
    found = [_written(one) if args.write else one for one in golden(mappings_of(args.mappings), root)]
    compared = [one for one in found if one.expected or one.same or (args.write and one.fault)]
    for one in compared:
        _show(one, as_json=args.json)
    if not found:
        zh = "没有 <来源>/<消息>/<名称>/case.yaml 形式的用例。"
        raise MissingFile(str(root), "<source>/<message>/<name>/case.yaml", detail_zh=zh)
    wrong, left = sum(not one.same for one in compared), len(found) - len(compared)
    if left:
        say(f"{left} 个用例没有 expected.json，没有比较；--write 写下现在的结果 / not compared: no expected.json")
    say(f"{len(compared) - wrong} / {len(compared)} 个用例相同 / cases equal")
    return Exit.PARTIAL if wrong else Exit.OK


def _root(args: argparse.Namespace) -> Path:
    """The folder named, else the cases beside the own mappings where there are some, else the shipped ones."""
    if args.cases:
        return Path(args.cases)
    own = Path(args.mappings) / "tests"
    return own if args.mappings and own.is_dir() else shipped("fixtures")


def _written(one: Tried) -> Tried:
    """The case, its result of now written down where it has no expected.json and could be translated."""
    if one.expected or one.fault:
        return one
    path = one.folder / "expected.json"
    path.write_text(json.dumps(one.made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    say(f"{path}: 已写下，请核对 / written, please check")
    return Tried(one.name, one.folder, same=True)


def _show(one: Tried, *, as_json: bool) -> None:
    if as_json:
        about = {"case": one.name, "ok": one.same}
        emit(about if one.same else about | {"fault": one.fault, "changes": [asdict(each) for each in one.changes]})
    elif not one.same:
        say(f"不同 / differs: {one.name}  {one.fault or ('' if one.changes else '只是先后不同')}".rstrip())
        for each in one.changes:
            print(each.shown())


def golden(mappings: Mappings, root: Path) -> Iterator[Tried]:
    """Every case below a folder, translated again. Raises MappingError for a case that cannot be read."""
    if str(shipped("fixtures").parent) not in sys.path:
        sys.path.insert(0, str(shipped("fixtures").parent))
    for case in import_module("fixtures.cases").all_cases(root):
        yield _tried(case, mappings)


def _tried(case: Any, mappings: Mappings) -> Tried:
    name, path = f"{case.source}/{case.name}", case.folder / "expected.json"
    expected = _expected(path)
    try:
        made = as_golden(translated(case, mappings))
    except (TranslateError, Invalid) as fault:
        return Tried(name, case.folder, expected is not None, fault=f"{fault.code} {fault.sentence_zh()}")
    if expected is None or made == expected:
        return Tried(name, case.folder, expected is not None, same=expected is not None, made=made)
    found = between(_by_name(expected), _by_name(made), Change("", case.source, "", "changed", ""))
    return Tried(name, case.folder, changes=tuple(found), made=made)


def _expected(path: Path) -> Json | None:
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as fault:
        zh = "不是 JSON 的 Bundle；删去后用 --write 重写。"
        raise MappingError(f"{path}:{getattr(fault, 'lineno', 1)}", "no JSON of a Bundle", detail_zh=zh) from None


def _by_name(bundle: Json) -> dict[str, Json]:
    """The resources of a Bundle by type and id; source records, which have none, by their number."""
    found = [entry.get("resource", {}) for entry in bundle.get("entry", [])]
    people = [one for one in found if "id" not in one]
    others = {f"{one.get('resourceType')}/{one['id']}": one for one in found if "id" in one}
    return {f"Patient/@{number}": one for number, one in enumerate(people)} | others


def translated(case: Any, mappings: Mappings) -> Draft:
    """The draft of a case, with the ids golden files are made with."""
    raw = RawMessage("m1", case.source, case.format, case.body, case.received, case.file_name)
    try:
        source = source_of(mappings, case.source)
    except ConfigError as fault:
        fault.place = str(case.folder / "case.yaml")
        raise
    draft = mappings.translate(raw, source, Ids(GOLDEN_KEY), case.received)
    check_draft(draft)
    return draft


def as_golden(draft: Draft) -> Any:
    """A draft as an expected.json holds it: without Provenance, whose mapping version changes with every table."""
    entries = [{"resource": {"resourceType": "Patient", **one.patient}} for one in draft.records]
    entries += [{"resource": loads(one.body)} for one in draft.resources if one.type != "Provenance"]
    return json.loads(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}, default=str))
