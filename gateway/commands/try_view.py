"""`gateway try --view`: some rows of a database view and what would become of them. Stores and claims nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from ..config import password_of
from ..errors import ConfigError, ViewChanged, ViewDenied, ViewError
from ..inbound.db_view.reader import Csv, ViewReader
from ..model.directory import Source
from ..model.resource import Json, dumps
from ..translate.engine import Mappings
from .talk import Exit, say
from .translate import mappings_of, run_try, show, source_of, tried


def run(args: argparse.Namespace) -> int:
    """Files or a view, whichever is named."""
    if bool(args.files) == bool(args.view):
        say("写文件名，或写 --view 来源，二者其一 / name files, or a source with --view")
        return Exit.USAGE
    if not args.view:
        return run_try(args)
    mappings = mappings_of(args.mappings)
    return run_view(args, mappings, source_of(mappings, args.view, "--view"))


def run_view(args: argparse.Namespace, mappings: Mappings, source: Source) -> int:
    """Exit 4 when the database cannot be read, 3 when it is not what source.yaml says, 5 when a row is wrong."""
    if source.view is None:
        names = "、".join(name for name, one in mappings.directory.sources.items() if one.view) or "没有"
        zh = f"这个来源没有写 view；写了的：{names}。"
        raise ConfigError(f"--view {args.view}", "this source has no view", detail_zh=zh)
    try:
        with _opened(source) as reader:
            found = _read(reader, args.rows)
    except ViewError as fault:
        say(f"{fault.code} {fault.sentence_zh()}")
        say(f"{' ' * len(fault.code)} {fault.sentence_en()}")
        return Exit.CONFIG if isinstance(fault, (ViewChanged, ViewDenied)) else Exit.UPSTREAM
    answers = [_tried(one, mappings, source) for one in found]
    for answer in answers:
        print(dumps(answer).decode()) if args.json else _show(answer, source)
    wrong = [one for one in answers if one["outcome"] != "ok" or any(f["severity"] == "error" for f in one["findings"])]
    return Exit.PARTIAL if wrong else Exit.OK


@contextmanager
def _opened(source: Source) -> Iterator[ViewReader]:
    reader = ViewReader(source, password_of)
    try:
        reader.open()
        yield reader
    finally:
        reader.close()


def _read(reader: ViewReader, rows: int) -> list[Csv]:
    """The newest rows as they would be kept, and on stderr what there is to know of the view."""
    view = reader.view
    reader.first()
    page = reader.page(rows=rows, newest=bool(view.changed))[::-1]
    for row in page:
        reader.check_key(row)
    say(f"{view.address} {view.name}：{len(page)} 行 / {len(page)} rows")
    say(f"  读的列 / columns: {'、'.join(reader.columns)}")
    if reader.unread:
        say(f"  视图里还有、没有读的列 / not read: {'、'.join(reader.unread)}")
    if left_out := reader.left_out():
        say(f"  {left_out.code} {left_out.sentence_zh()}")
    whole = reader.whole(page)
    if len(whole) > len(page):
        say(f"  连同同一报告的其他行，共 {len(whole)} 行 / with the other lines of their reports: {len(whole)}")
    return list(reader.messages(whole))


def _tried(one: Csv, mappings: Mappings, source: Source) -> Json:
    assert source.view is not None
    return tried(source.view.name, "csv", one.body, mappings, source) | {"rows": one.body.decode()}


def _show(answer: Json, source: Source) -> None:
    say("  " + answer["rows"].rstrip("\n").replace("\n", "\n  "))
    show(answer, source)
