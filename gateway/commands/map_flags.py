"""`gateway map …`: its commands and their flags."""

from __future__ import annotations

from . import values
from .flags import json_lines, place
from .parser import Commands, Parser, command


def add(commands: Commands) -> None:
    """`map` and every command below it."""
    maps = command(commands, "map", "", "编写、检查、测试、解释映射", "write, check, test and explain mappings")
    actions = maps.commands("action")
    _map_cases(actions)
    _map_kept(actions)
    _map_new(actions)
    _map_tables(actions)


def _map(actions: Commands, name: str, run: str, zh: str, en: str) -> Parser:
    parser = command(actions, name, run, zh, en)
    needed = name in ("new", "diff", "import-xlsx")
    parser.argument("--mappings", "自己的映射目录", "own mapping folder", default="", required=needed)
    json_lines(parser)
    return parser


def _map_cases(actions: Commands) -> None:
    check = _map(
        actions, "check", "maps:check", "编译全部映射，错误给出文件和行",
        "compile every mapping; errors with file and line",
    )  # fmt: skip
    check.argument("--rules", "再检查这张互认规则表（YAML）", "check this recognition sheet (YAML) as well", default="")
    test = _map(
        actions, "test", "maps:test", "跑一个目录里的用例，与应有的结果比较",
        "run the cases of a fixtures folder against their expected result",
    )  # fmt: skip
    test.argument(
        "cases", "用例目录（默认为 --mappings 下的 tests/，没有则为随包的用例）",
        "folder of cases (default: tests/ below --mappings, if any)", nargs="?", default="",
    )  # fmt: skip
    test.argument(
        "--write", "没有 expected.json 的用例，写下现在的结果", "write expected.json where a case has none",
        action="store_true",
    )  # fmt: skip


def _map_kept(actions: Commands) -> None:
    """Mappings against the messages an inbox has kept."""
    explain = _map(
        actions, "explain", "maps_kept:explain", "一个元素来自哪条消息、哪个字段、哪条规则、码表哪一行",
        "message, field, rule and table row of one element",
    )  # fmt: skip
    place(explain)
    explain.argument(
        "resource", "已入库的资源，如 Observation/abc", "a stored resource, like Observation/abc", type=values.reference
    )
    explain.argument(
        "element", "它的元素，如 valueQuantity.value、code.coding[1].code",
        "its element, like valueQuantity.value or code.coding[1].code",
    )  # fmt: skip
    explain.argument("--message", "只看保存的这条消息，如 m12", "only this kept message, like m12", default="")
    diff = _map(
        actions, "diff", "maps_kept:diff", "换用 --mappings 后，保存的消息会有哪些变化",
        "what --mappings would make otherwise of kept messages",
    )  # fmt: skip
    place(diff)
    diff.argument(
        "--old", "与哪个目录比（默认为 --config 里的，没有则为随包映射）",
        "folder to compare with (default: that of --config, else the shipped one)", default="",
    )  # fmt: skip
    diff.argument("--source", "只看这个来源的", "only this source", default="")
    diff.argument(
        "--last", "只看最近几条消息（默认 1000）", "how many of the newest messages (default: 1000)",
        type=values.positive, default=1000,
    )  # fmt: skip
    diff.argument(
        "--full", "逐条列出前后值，不只是计数", "every change with before and after, not only counts",
        action="store_true",
    )  # fmt: skip
    gaps = _map(
        actions, "gaps", "maps_kept:gaps", "保存的消息里未映射的代码和没用上的字段，按次数排",
        "unmapped codes and unused fields of kept messages, by frequency",
    )  # fmt: skip
    place(gaps)
    gaps.argument("--source", "只看这个来源的", "only this source", default="")


def _map_new(actions: Commands) -> None:
    new = _map(
        actions, "new", "maps_new:new", "为新成员写好起始文件，放在 --mappings 下",
        "the files a new member starts from, below --mappings",
    )  # fmt: skip
    new.argument("member", "成员名，如 district_hospital", "its key, like district_hospital")
    new.argument("--name", "医生看到的成员名称", "its name, as doctors read it", default="")
    new.argument("--source", "来源名（默认 MEMBER_his）", "name of its source (default: MEMBER_his)", default="")
    new.argument(
        "--format", "来源的格式（默认 v2）", "format of its source (default: v2)",
        default="v2", choices=("v2", "cda", "csv", "json", "dicom"),
    )  # fmt: skip
    new.argument(
        "--level", "tertiary 三级，secondary 二级（默认），primary 基层", "its level (default: secondary)",
        default="secondary", choices=("tertiary", "secondary", "primary"),
    )  # fmt: skip
    new.argument(
        "--sender", "它的 HL7 v2 消息写明的发送方（默认 HIS/MEMBER）",
        "who its HL7 v2 messages say they come from (default: HIS/MEMBER)", type=values.msh3_msh4, metavar="MSH3/MSH4",
    )  # fmt: skip


def _map_tables(actions: Commands) -> None:
    tables = (
        ("export-xlsx", "码表导出为工作簿，每张码表一个工作表", "code tables as a workbook, a sheet each"),
        ("import-xlsx", "把工作簿读回 --mappings 下的码表", "a workbook back into the tables below --mappings"),
        ("conceptmap", "码表写成 FHIR ConceptMap", "code tables as FHIR ConceptMaps"),
    )
    for name, zh, en in tables:
        one = _map(actions, name, f"maps_tables:{name.replace('-', '_')}", zh, en)
        if name == "conceptmap":
            one.argument(
                "--out", "写到这个目录，每份一个文件（默认每份输出一行 JSON）",
                "folder, a file each (default: a JSON line each)", default="",
            )  # fmt: skip
        else:
            new = name == "export-xlsx"
            zh, en = ("；不覆盖已有的", "; none that exists") if new else ("", "")
            one.argument("file", f"工作簿，.xlsx{zh}", f"the workbook, .xlsx{en}", type=values.workbook)
        if name != "import-xlsx":
            one.argument(
                "--member", "哪个成员的码表（默认为大家共用的）", "whose tables (default: those everybody shares)",
                default="",
            )  # fmt: skip
            one.argument(
                "--base", "与 --member 同用：连共用的码表一起", "with --member: the shared tables too",
                action="store_true",
            )  # fmt: skip
    schema = _map(
        actions, "schema", "maps_tables:schema", "映射文件和 source.yaml 的 JSON Schema，供编辑器用",
        "JSON Schemas of map files and source.yaml, for editors",
    )  # fmt: skip
    schema.argument("--out", "写到这个目录（默认当前目录）", "folder (default: here)", default=".")
