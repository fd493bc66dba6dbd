"""`gateway map new`: the files a new member starts from, ready to compile."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import ConfigError, MappingError
from ..shipped import shipped
from ..translate.engine import Mappings
from ..translate.map_schema import schemas
from ..translate.strict_yaml import parse
from .talk import Exit, emit, say

_KEY = re.compile(r"[a-z][a-z0-9_]{1,40}")
_SOURCE = """# yaml-language-server: $schema=../source.schema.json
name: {name}
short: {name}
level: {level}                 # tertiary 三级 | secondary 二级 | primary 基层
provides: [visits, labs]       # visits labs imaging images medication documents
sources:
  {source}:
    format: {format}
    title: {name}
    charset: auto              # auto：按声明，未声明则识别；或 utf-8、gb18030
    control_id: trusted        # untrusted：MSH-10 每天重新编号
    report_mode: snapshot      # delta：同一报告再发时只发有变化的项目
{settings}"""
_VIEW = """    # 数据库视图由网关直接读，键的含义见厂商手册“数据库视图”；写好后 gateway try --view {source} --mappings …
    # view:
    #   driver: mysql          # sqlite postgresql mysql sqlserver oracle
    #   host: 10.1.2.3
    #   database: his
    #   user: gateway_ro
    #   password_file: /etc/gateway/his.password
    #   name: V_MZJL
    #   columns: {{MZH: 就诊流水号, HZID: 病人编号, XM: 姓名, JZRQ: 就诊日期}}
    #   key: MZH
    #   changed: GXSJ
"""
_MAP = """# yaml-language-server: $schema=../map.schema.json
# 只写与基础映射不同的；还缺什么见 gateway map gaps
extends: _base/v2/oru_r01
serves: [ORU^R01]
source: 接口文档名称、版本、页码
rules: []
ignore: []
#  - {field: OBX-17, because: 检验系统在此重复仪器名}
"""
_TABLE = "from,name,unit,specimen,system,code,display,equivalence,note,valid-from\n"


def new(args: argparse.Namespace) -> int:
    """Write the member's folder below --mappings once it compiles, say what comes next. Never overwrites."""
    _check_names(args)
    root, files = Path(args.mappings), _files(args)
    with TemporaryDirectory() as scratch:  # the sender of another source, for one: then nothing was done
        _write(Path(scratch), files)
        Mappings.load([Path(scratch), *([root] if root.is_dir() else []), shipped("mappings")])
    _write(root, files)
    for path in files:
        emit({"file": str(root / path)}) if args.json else say(str(root / path))
    say(_next(args))
    return Exit.OK


def _check_names(args: argparse.Namespace) -> None:
    for flag, name in (("member", args.member), ("--source", args.source)):
        if name and not _KEY.fullmatch(name):
            detail = f"{name!r}: lower-case letters, digits and _, beginning with a letter"
            raise ConfigError(flag, detail, detail_zh=f"{name!r} 只能用小写字母、数字和下划线，以字母开头。")
    if args.sender and args.format != "v2":
        zh = f"只有 v2 来源凭 MSH-3、MSH-4 识别，{args.format} 来源请去掉 --sender。"
        raise ConfigError("--sender", "only a v2 source is known by its sender", detail_zh=zh)
    if (Path(args.mappings) / args.member).exists():
        folder = str(Path(args.mappings) / args.member)
        raise ConfigError(
            folder, "exists already", detail_zh="该目录已存在，不会覆盖；再加来源请直接改其中的 source.yaml。"
        )
    if (shipped("mappings") / args.member).exists():
        zh = f"随包映射已有成员 {args.member}，新写的 source.yaml 会顶替它的全部来源；请换一个成员名。"
        raise ConfigError("member", f"{args.member} is a member of the shipped mappings", detail_zh=zh)


def _write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def _sender(args: argparse.Namespace) -> tuple[str, str]:
    """MSH-3 and MSH-4, when they are not named those a new member has until somebody changes them."""
    return args.sender or ("HIS", args.member.upper())


def _files(args: argparse.Namespace) -> dict[str, str]:
    source = args.source or f"{args.member}_his"
    msh3, msh4 = map(_scalar, _sender(args))
    made = {
        f"{args.member}/source.yaml": _SOURCE.format(
            name=_scalar(args.name or args.member), level=args.level, source=source, format=args.format,
            settings=_settings(args.format, source, msh3, msh4),
        ),
        f"{args.member}/codes/lab_items.csv": _TABLE,
        **{name: json.dumps(schema, ensure_ascii=False, indent=1) + "\n" for name, schema in schemas().items()},
    }  # fmt: skip
    return made | ({f"{args.member}/oru_r01.yaml": _MAP} if args.format == "v2" else {})


def _settings(form: str, source: str, msh3: str, msh4: str) -> str:
    """What only one format needs."""
    if form == "csv":
        return _VIEW.format(source=source)
    return f"    settings: {{msh3: {msh3}, msh4: {msh4}}}\n" if form == "v2" else ""


def _scalar(text: str) -> str:
    """A text as YAML: as it is where YAML reads it so, else in quotes (`0102`, `yes`, `a: b`)."""
    try:
        (plain,) = parse(f"[{text}]", "").items()
        return text if plain.value == text else json.dumps(text, ensure_ascii=False)
    except (MappingError, ValueError):
        return json.dumps(text, ensure_ascii=False)


def _next(args: argparse.Namespace) -> str:
    source, (msh3, msh4) = args.source or f"{args.member}_his", _sender(args)
    known = f"  凭 MSH-3 = {msh3}、MSH-4 = {msh4} 认出 {source} 发来的消息；与系统实际发出的不同，请改 source.yaml\n"
    return (
        f"能编译 / compiles. 接下来 / next:\n"
        f"{known if args.format == 'v2' else ''}"
        f"  gateway try 样例 --mappings {args.mappings} --source {source}\n"
        f"  gateway map check --mappings {args.mappings}\n"
        f'  gateway.toml: [gateway] mappings = "{args.mappings}"'
    )
