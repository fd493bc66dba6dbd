"""`gateway map check|test`: does it compile, does it make what was expected."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import MissingFile, TranslateError
from ..model.ids import Ids
from ..model.message import Draft, RawMessage
from ..model.resource import loads
from ..shipped import shipped
from ..translate.engine import Mappings
from ..validate.elements import R4Elements
from .talk import Exit, emit, say
from .translate import folders_of, mappings_of, source_of

GOLDEN_KEY = b"golden"  # expected results are made with these ids; a store has its own key


def check(args: argparse.Namespace) -> int:
    """Every map of every source, compiled."""
    loaded = Mappings.load(folders_of(args.mappings), elements=R4Elements())
    sources = loaded.directory.sources
    say(f"{len(sources)} 个来源的映射都能编译 / mappings of {len(sources)} sources compile")
    for name, source in sorted(sources.items()):
        form = source.format
        kinds = loaded.kinds(source, form) if form != "any" else []
        emit({"source": name, "format": form, "kinds": kinds}) if args.json else print(name, form, " ".join(kinds))
    return Exit.OK


def test(args: argparse.Namespace) -> int:
    """Every case folder that has an expected.json, translated again and compared."""
    root = Path(args.cases) if args.cases else shipped("fixtures")
    wrong = total = 0
    for name, same in golden(mappings_of(args.mappings), root):
        total += 1
        wrong += not same
        if args.json:
            emit({"case": name, "ok": same})
        elif not same:
            say(f"不同 / differs: {name}")
    if not total:
        raise MissingFile(
            str(root),
            "<source>/<message>/<name>/case.yaml",
            detail_zh="没有 <来源>/<消息>/<名称>/case.yaml 形式的用例。",
        )
    say(f"{total - wrong} / {total} 个用例相同 / cases equal")
    return Exit.PARTIAL if wrong else Exit.OK


def golden(mappings: Mappings, root: Path) -> Iterator[tuple[str, bool]]:
    """(name, whether it is as expected) of every case below a folder that has an expected.json."""
    if str(shipped("fixtures").parent) not in sys.path:
        sys.path.insert(0, str(shipped("fixtures").parent))
    for case in import_module("fixtures.cases").all_cases(root):
        expected = case.folder / "expected.json"
        if expected.exists():
            yield f"{case.source}/{case.name}", _same(case, mappings, expected)


def _same(case: Any, mappings: Mappings, expected: Path) -> bool:
    try:
        return bool(as_golden(translated(case, mappings)) == json.loads(expected.read_text(encoding="utf-8")))
    except TranslateError:
        return False


def translated(case: Any, mappings: Mappings) -> Draft:
    """The draft of a case, with the ids golden files are made with."""
    now = import_module("fixtures.times").ANCHOR
    raw = RawMessage("m1", case.source, case.format, case.body, now, case.file_name)
    return mappings.translate(raw, source_of(mappings, case.source), Ids(GOLDEN_KEY), now)


def as_golden(draft: Draft) -> Any:
    """A draft as an expected.json holds it: without Provenance, whose mapping version changes with every table."""
    entries = [{"resource": {"resourceType": "Patient", **one.patient}} for one in draft.records]
    entries += [{"resource": loads(one.body)} for one in draft.resources if one.type != "Provenance"]
    return json.loads(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}, default=str))
