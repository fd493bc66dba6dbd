"""`gateway`: one command, its sub-commands, their flags. What each does is in `commands/`."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import Any, NoReturn, TypeAlias

from . import __version__
from .commands.talk import Exit, say
from .errors import ConfigError, GatewayError, MissingFile
from .model.times import parse_fhir

_EXAMPLES = """examples:
  gateway demo                                   everything on loopback with twelve synthetic residents
  gateway try report.hl7                         what would become of a file; stores nothing
  gateway send report.hl7 --mllp 127.0.0.1:2575  send it like a hospital would
  gateway inbox list --state quarantined         what could not be processed, and why

exit codes: 0 ok, 2 usage, 3 configuration, 4 no answer from the other side, 5 partly failed
"""


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = _parser().parse_args(argv)
    run = _load(args.run)
    try:
        return int(run(args))
    except ConfigError as fault:
        say(f"{fault.code} {fault.sentence_zh()}")
        say(f"{' ' * len(fault.code)} {fault.sentence_en()}")
        return Exit.CONFIG
    except MissingFile as fault:
        say(f"{fault.code} {fault.sentence_zh()}")
        return Exit.USAGE
    except GatewayError as fault:
        say(f"{fault.code} {fault.sentence_zh()}")
        return Exit.PARTIAL
    except OSError as fault:
        return _refused(fault)
    except KeyboardInterrupt:
        return 130


def _refused(fault: OSError) -> int:
    """What the operating system did not allow: a named file is the user's to mend, a port the operator's."""
    what = fault.strerror or str(fault)
    if fault.filename is not None:
        say(f"{fault.filename}: 无法读写 / cannot be read or written: {what}")
        return Exit.USAGE
    say(f"系统拒绝了这次操作 / the system refused: {what}")
    return Exit.CONFIG


def _load(path: str) -> Callable[[argparse.Namespace], int]:
    """`module:function` below `commands/`, imported only when its command is asked for."""
    module, _, name = path.partition(":")
    found: Callable[[argparse.Namespace], int] = getattr(import_module(f".commands.{module}", __package__), name)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gateway", description="医联体健康档案网关 / health-records gateway for Chinese medical alliances",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    _serving(commands)
    _messages(commands)
    _inbox(commands)
    _maps(commands)
    _rest(commands)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"
_MISTAKES = (  # what argparse says of a command line, as far as users meet it
    (r"the following arguments are required: (.+)", r"缺少 \1。"),
    (r"argument (\S+): invalid choice: (.+) \(choose from (.+)\)", r"\1 不能是 \2；可用：\3。"),
    (r"argument (\S+): expected (?:one|at least one|\d+) arguments?", r"\1 后面要写值。"),
    (r"argument (\S+): ignored explicit argument (.+)", r"\1 不带值，却写了 \2。"),
    (r"argument (\S+): invalid int value: (.+)", r"\1 应是整数，却写了 \2。"),
    (r"ambiguous option: (\S+) could match (.+)", r"\1 可以是 \2，请写全。"),
    (r"argument (\S+): (.+)", r"\1：\2"),
)


class _Parser(argparse.ArgumentParser):
    """argparse that says in Chinese what is wrong with a command line, for the command it was written for."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it; what this command does not know is refused here, where its flags are known."""
        found, extra = super().parse_known_args(args, namespace)
        if extra:
            near = difflib.get_close_matches(extra[0].partition("=")[0], self._option_string_actions, 1, 0.6)
            self.error(f"没有参数 {extra[0]}" + (f"，是不是 {near[0]}？" if near else "。"))
        return found, extra

    def error(self, message: str) -> NoReturn:
        """Usage, the sentence and where to read on, on stderr; exit code 2."""
        self.print_usage(sys.stderr)
        zh = next((found.expand(to) for said, to in _MISTAKES if (found := re.fullmatch(said, message))), message)
        self.exit(Exit.USAGE, f"{self.prog}: {zh} 用法见 {self.prog} --help\n")


def _add(commands: Commands, name: str, run: str, text: str) -> _Parser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _port(text: str) -> int:
    if text.isdigit() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} 不是端口号（0 到 65535）。")


def _address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:PORT` or `PORT`; the host is loopback when left out."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", _port(port)


def _positive(text: str) -> int:
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} 应是大于 0 的整数。")


def _msh3_msh4(text: str) -> tuple[str, str]:
    msh3, _, msh4 = (part.strip() for part in text.partition("/"))
    if msh3 and msh4 and "/" not in msh4:
        return msh3, msh4
    raise argparse.ArgumentTypeError(f"{text!r} 应写成 MSH-3/MSH-4 两部分，如 LIS/QYY。")


def _reference(text: str) -> str:
    if re.fullmatch(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}", text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} 应写成 类型/编号，如 Observation/abc。")


def _workbook(text: str) -> str:
    if text.lower().endswith(".xlsx"):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} 应是 .xlsx 文件。")


def _serving(commands: Commands) -> None:
    demo = _add(commands, "demo", "demo:run", "start everything on synthetic members and print the addresses")
    demo.add_argument("--home", default=".demo", help="folder of the demo's data (default: .demo)")
    demo.add_argument("--port", type=_port, default=8080, help="HTTP port (default: 8080)")
    demo.add_argument("--mllp-port", type=_port, default=2575, help="MLLP port (default: 2575)")
    demo.add_argument("--no-browser", action="store_true", help="do not open the doctor page")
    demo.add_argument("--no-stream", action="store_true", help="no new message every few seconds")
    serve = _add(commands, "serve", "serve:run", "run the gateway for real members")
    serve.add_argument("--config", help="settings file, see the operator's manual (default: none, all defaults)")
    serve.add_argument("--workers", type=_positive, default=1, help="processes, default 1; more need PostgreSQL")


def _messages(commands: Commands) -> None:
    try_ = _add(commands, "try", "translate:run_try", "translate files and show FHIR, unused fields, errors")
    try_.add_argument("files", nargs="+", help="files or folders")
    try_.add_argument("--source", default="sandbox", help="whose mapping (default: the base maps alone)")
    try_.add_argument("--mappings", default="", help="own mapping folder")
    try_.add_argument("--json", action="store_true", help="one JSON line a file")
    load = _add(commands, "load", "load:run", "push files or folders through the push door of a running gateway")
    load.add_argument("paths", nargs="+", help="files or folders")
    load.add_argument("--source", required=True, help="name of the source they come from")
    load.add_argument("--home", default=".demo", help="home whose demo.json names the gateway")
    load.add_argument("--push", default="", help="address of the push door, instead of demo.json")
    load.add_argument("--token", default="", help="file holding the token, instead of demo.json")
    load.add_argument("--json", action="store_true", help="one JSON line an answer")
    send = _add(commands, "send", "simulate:run_send", "send HL7 v2 messages over MLLP and print the answers")
    send.add_argument("file", help="one or several messages, line ends of any kind")
    send.add_argument(
        "--mllp", type=_address, default="127.0.0.1:2575", metavar="HOST:PORT", help="default: 127.0.0.1:2575"
    )
    send.add_argument("--tls", action="store_true", help="over TLS; the server's certificate is checked")
    send.add_argument("--ca", default="", metavar="FILE", help="PEM of the CA that signed the server's certificate")
    send.add_argument("--cert", default="", metavar="FILE", help="PEM of the sender's own certificate")
    send.add_argument("--key", default="", metavar="FILE", help="PEM of its key, when it is not in --cert")
    listen = _add(commands, "listen", "simulate:run_listen", "receive HL7 v2 over MLLP, print, acknowledge")
    listen.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    listen.add_argument("--port", type=_port, default=2576, help="default: 2576; 0 takes a free one")
    listen.add_argument("--count", type=int, default=0, help="stop after so many messages")


def _moment(text: str) -> datetime:
    try:
        return parse_fhir(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} 不是日期时间，应如 2026-03-10 或 2026-03-10T08:00。") from None


def _place(parser: argparse.ArgumentParser) -> None:
    """The flags that say whose messages and store."""
    parser.add_argument("--home", default=".demo", help="the gateway's home folder (default: .demo)")
    parser.add_argument("--config", default="", help="settings file that names home or database, instead")
    parser.add_argument("--url", default="", help="postgresql://… of the database, instead")


def _inbox(commands: Commands) -> None:
    inbox = _add(commands, "inbox", "inbox:run", "what was received and what became of it")
    actions = inbox.add_subparsers(dest="action", required=True, metavar="action")
    for name, text in (
        ("list", "newest first"),
        ("show", "one message, whole"),
        ("groups", "what is quarantined or parked, by cause"),
        ("replay", "process again"),
    ):
        action = actions.add_parser(name, help=text)
        _place(action)
        action.add_argument("--json", action="store_true", help="JSON lines")
        if name == "show":
            action.add_argument("key", help="number of the message, like m12")
            continue
        if name == "groups":
            action.add_argument("--state", choices=("quarantined", "parked"), default="quarantined")
        else:
            action.add_argument("--state", choices=("received", "processed", "quarantined", "parked"))
        action.add_argument("--source", default="", help="only this source")
        action.add_argument("--reason", default="", help="only this error code, like GW-TRN-003")
        action.add_argument("--mapping-version", default="", help="only what this version of a mapping was tried on")
        action.add_argument(
            "--since", type=_moment, metavar="TIME", help="only what came then or later, 2026-03-10T08:00"
        )
        action.add_argument("--until", type=_moment, metavar="TIME", help="only what came before")
        action.add_argument("--place", default="", help="only with the fault at this place, like OBX-5")
        if name == "list":
            action.add_argument("--limit", type=_positive, default=50, help="at most so many (default: 50)")
        if name == "replay":
            action.add_argument("keys", nargs="*", help="numbers of messages, like m12")

    prune = _add(actions, "prune", "inbox_prune:run", "let go of originals past the days of [[keep]]")
    prune.add_argument("--config", required=True, help="the gateway.toml whose rules and home count")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    prune.add_argument("--limit", type=_positive, default=1 << 40, help="look at so many messages at most")
    prune.add_argument("--json", action="store_true", help="JSON lines")


def _maps(commands: Commands) -> None:
    maps = commands.add_parser("map", help="write, check, test and explain mappings")
    actions = maps.add_subparsers(required=True, metavar="action")

    def action(name: str, run: str, text: str, *, kept: bool = False) -> argparse.ArgumentParser:
        parser = _add(actions, name, run, text)
        needed = name in ("new", "diff", "import-xlsx")
        parser.add_argument("--mappings", default="", required=needed, help="own mapping folder")
        parser.add_argument("--json", action="store_true", help="JSON lines")
        if kept:
            _place(parser)
        return parser

    action("check", "maps:check", "compile every mapping; errors with file and line")
    test = action("test", "maps:test", "run the cases of a fixtures folder against their expected result")
    test.add_argument("cases", nargs="?", default="", help="folder of cases (default: tests/ below --mappings, if any)")
    test.add_argument("--write", action="store_true", help="write expected.json where a case has none")
    explain = action("explain", "maps_kept:explain", "message, field, rule and table row of one element", kept=True)
    explain.add_argument("resource", type=_reference, help="a stored resource, like Observation/abc")
    explain.add_argument("element", help="its element, like valueQuantity.value or code.coding[1].code")
    explain.add_argument("--message", default="", help="only this kept message, like m12")
    diff = action("diff", "maps_kept:diff", "what --mappings would make otherwise of kept messages", kept=True)
    diff.add_argument(
        "--old", default="", help="folder to compare with (default: that of --config, else the shipped one)"
    )
    diff.add_argument("--source", default="", help="only this source")
    diff.add_argument("--last", type=_positive, default=1000, help="how many of the newest messages (default: 1000)")
    diff.add_argument("--full", action="store_true", help="every change with before and after, not only counts")
    gaps = action(
        "gaps", "maps_kept:gaps", "unmapped codes and unused fields of kept messages, by frequency", kept=True
    )
    gaps.add_argument("--source", default="", help="only this source")
    _map_files(action)


def _map_files(action: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    new = action("new", "maps_new:new", "the files a new member starts from, below --mappings")
    new.add_argument("member", help="its key, like district_hospital")
    new.add_argument("--name", default="", help="its name, as doctors read it")
    new.add_argument("--source", default="", help="name of its source (default: MEMBER_his)")
    new.add_argument("--format", default="v2", choices=("v2", "cda", "csv", "json", "dicom", "fhir"))
    new.add_argument("--level", default="secondary", choices=("tertiary", "secondary", "primary"))
    new.add_argument(
        "--sender", type=_msh3_msh4, metavar="MSH3/MSH4",
        help="who its HL7 v2 messages say they come from (default: HIS/MEMBER)",
    )  # fmt: skip
    tables = (
        ("export-xlsx", "code tables as a workbook, a sheet each"),
        ("import-xlsx", "a workbook back into the tables below --mappings"),
        ("conceptmap", "code tables as FHIR ConceptMaps"),
    )
    for name, text in tables:
        one = action(name, f"maps_tables:{name.replace('-', '_')}", text)
        if name == "conceptmap":
            one.add_argument("--out", default="", help="folder, a file each (default: a JSON line each)")
        else:
            one.add_argument("file", type=_workbook, help="the workbook, .xlsx")
        if name != "import-xlsx":
            one.add_argument("--member", default="", help="whose tables (default: those everybody shares)")
            one.add_argument("--base", action="store_true", help="with --member: the shared tables too")
    schema = action("schema", "maps_tables:schema", "JSON Schemas of map files and source.yaml, for editors")
    schema.add_argument("--out", default=".", help="folder (default: here)")


def _rest(commands: Commands) -> None:
    store = _add(commands, "store", "store:run", "look after the store")
    actions = store.add_subparsers(dest="action", required=True, metavar="action")
    for name, text in (
        ("stats", "rows, bytes, persons"),
        ("verify", "check the audit chain; on SQLite the gateway must be stopped"),
        ("migrate", "bring the schema to this release; the gateway does so itself when it starts"),
        ("reindex", "make again what resources are found by, after a release that says so; SQLite: gateway stopped"),
        ("backup", "store, inbox and audit as one file, while the gateway runs"),
        ("restore", "a backup into an empty home or schema, verified"),
    ):
        action = actions.add_parser(name, help=text)
        _place(action)
        if name in ("backup", "restore"):
            action.add_argument("file", help="the backup file")
        action.add_argument("--json", action="store_true", help="JSON lines")
    generate = _add(commands, "generate", "generate:run", "a synthetic population in every member's own format")
    generate.add_argument("--residents", type=_positive, default=100, help="default: 100")
    generate.add_argument("--seed", type=int, default=1, help="the same seed, the same residents (default: 1)")
    generate.add_argument("--out", required=True, help="folder to write, one sub-folder a source")


if __name__ == "__main__":
    sys.exit(main())
