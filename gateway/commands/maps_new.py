"""`gateway map new`: the files a new member starts from, ready to compile."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

from ..errors import ConfigError, MappingError
from ..translate.engine import Mappings
from ..translate.map_schema import schemas
from .talk import Exit, say
from .translate import folders_of

_KEY = re.compile(r"[a-z][a-z0-9_]{1,40}")
_SOURCE = """# yaml-language-server: $schema=../source.schema.json
name: {name}
short: {name}
level: {level}                 # tertiary | secondary | primary
provides: [visits, labs]       # visits labs imaging images medication documents
sources:
  {source}:
    format: {format}
    title: {name}
    charset: auto              # auto: as declared, else recognised; or utf-8, gb18030
    control_id: trusted        # untrusted: MSH-10 starts again every day
    report_mode: snapshot      # delta: a newer issue sends only what changed
{settings}"""
_MAP = """# yaml-language-server: $schema=../map.schema.json
# Only what differs from the base. `gateway map gaps` says what is still missing.
extends: _base/v2/oru_r01
serves: [ORU^R01]
source: 接口文档名称、版本、页码
rules: []
ignore: []
#  - {field: OBX-17, because: 检验系统在此重复仪器名}
"""
_TABLE = "from,name,unit,specimen,system,code,display,equivalence,note,valid-from\n"


def new(args: argparse.Namespace) -> int:
    """Write the member's folder below --mappings, compile it, say what comes next. Never overwrites."""
    if not _KEY.fullmatch(args.member):
        detail = "lower-case letters, digits and _, beginning with a letter"
        raise ConfigError(args.member, detail, detail_zh="成员名只用小写字母、数字和下划线，以字母开头。")
    root = Path(args.mappings)
    folder = root / args.member
    if folder.exists():
        raise ConfigError(str(folder), "exists already", detail_zh="该目录已存在，不会覆盖。")
    for path, text in _files(args).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
        say(str(root / path))
    try:
        Mappings.load(folders_of(args.mappings))
    except MappingError:  # the sender of another source, for one: as if nothing had been done
        shutil.rmtree(root / args.member)
        raise
    say(_next(args))
    return Exit.OK


def _files(args: argparse.Namespace) -> dict[str, str]:
    source = args.source or f"{args.member}_his"
    msh3, _, msh4 = args.sender.partition("/")
    sender = f"    settings: {{msh3: {msh3 or 'HIS'}, msh4: {msh4 or args.member.upper()}}}\n"
    made = {
        f"{args.member}/source.yaml": _SOURCE.format(
            name=args.name or args.member, level=args.level, source=source, format=args.format,
            settings=sender if args.format == "v2" else "",
        ),
        f"{args.member}/codes/lab_items.csv": _TABLE,
        **{name: json.dumps(schema, ensure_ascii=False, indent=1) + "\n" for name, schema in schemas().items()},
    }  # fmt: skip
    return made | ({f"{args.member}/oru_r01.yaml": _MAP} if args.format == "v2" else {})


def _next(args: argparse.Namespace) -> str:
    source = args.source or f"{args.member}_his"
    return (
        f"能编译 / compiles. 接下来 / next:\n"
        f"  gateway try 样例 --mappings {args.mappings} --source {source}\n"
        f"  gateway map check --mappings {args.mappings}\n"
        f'  gateway.toml: [gateway] mappings = "{args.mappings}"'
    )
