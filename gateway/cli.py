"""`gateway`: one command, its sub-commands, their flags. What each does is in `commands/`."""

from __future__ import annotations

import argparse
import errno
import os
import select
import sys
from collections.abc import Callable
from importlib import import_module

from . import __version__
from .commands import map_flags, values
from .commands.flags import json_lines, place
from .commands.parser import Commands, Parser, both, command
from .commands.talk import Exit, say
from .errors import ConfigError, GatewayError, MissingFile

_EXAMPLES = """示例 / examples:
  gateway demo
      在本机回环地址运行整套演示，带十二位合成居民
      everything on loopback with twelve synthetic residents
  gateway try report.hl7
      看一个文件会变成什么，不入库
      what would become of a file; stores nothing
  gateway send report.hl7 --mllp 127.0.0.1:2575
      像医院一样发送
      send it like a hospital would
  gateway inbox list --state quarantined
      哪些消息没能处理，原因是什么
      what could not be processed, and why

退出码 / exit codes:
  0  成功 / ok
  2  用法或文件有误 / usage
  3  配置有误 / configuration
  4  对方没有应答 / no answer from the other side
  5  部分失败 / partly failed
"""
_STATES = {"received": "已落盘", "processed": "已入库", "quarantined": "隔离", "parked": "挂起"}


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = command_line().parse_args(argv)
    run = _load(args.run)
    try:
        code = int(run(args))
        sys.stdout.flush()  # what is left in the buffer may find nobody who reads it
        return code
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
    if isinstance(fault, BrokenPipeError) and _nobody_reads():
        return Exit.OK
    what = ("磁盘已满 / " if fault.errno == errno.ENOSPC else "") + (fault.strerror or str(fault))
    if fault.filename is not None:
        say(f"{fault.filename}: 无法读写 / cannot be read or written: {what}")
        return Exit.USAGE
    say(f"系统拒绝了这次操作 / the system refused: {what}")
    return Exit.CONFIG


def _nobody_reads() -> bool:
    """True when the other end of standard output is closed, as `… | head` does; the rest then goes nowhere."""
    watched = select.poll()
    watched.register(sys.stdout.fileno(), 0)
    if not watched.poll(0):  # another pipe or line it was
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _load(path: str) -> Callable[[argparse.Namespace], int]:
    """`module:function` below `commands/`, imported only when its command is asked for."""
    module, _, name = path.partition(":")
    found: Callable[[argparse.Namespace], int] = getattr(import_module(f".commands.{module}", __package__), name)
    return found


def command_line() -> Parser:
    """Every command, its flags and what they are for."""
    text = both("医联体健康档案网关", "health-records gateway for Chinese medical alliances")
    parser = Parser(prog="gateway", description=text, epilog=_EXAMPLES)
    version = {"action": "version", "version": f"gateway {__version__}"}
    parser.argument("--version", "显示版本号并退出", "show program's version number and exit", **version)
    commands = parser.commands("command")
    _serving(commands)
    _messages(commands)
    _lines(commands)
    _inbox(commands)
    map_flags.add(commands)
    _store(commands)
    _generate(commands)
    return parser


def _serving(commands: Commands) -> None:
    demo = command(
        commands, "demo", "demo:run", "用合成的成员启动整套网关，并打印各个地址",
        "start everything on synthetic members and print the addresses",
    )  # fmt: skip
    demo.argument(
        "--home", "演示数据的目录（默认 .demo）", "folder of the demo's data (default: .demo)", default=".demo"
    )
    demo.argument("--port", "HTTP 端口（默认 8080）", "HTTP port (default: 8080)", type=values.port, default=8080)
    demo.argument("--mllp-port", "MLLP 端口（默认 2575）", "MLLP port (default: 2575)", type=values.port, default=2575)
    demo.argument(
        "--dicom-port", "DICOM 端口（默认 11112）", "DICOM port (default: 11112)", type=values.port, default=11112
    )
    demo.argument("--no-browser", "不打开医生页面", "do not open the doctor page", action="store_true")
    demo.argument(
        "--no-stream", "不自动发送新消息（平时每隔几秒一条）", "no new message every few seconds", action="store_true"
    )
    serve = command(commands, "serve", "serve:run", "正式运行网关，接入真实的成员", "run the gateway for real members")
    serve.argument(
        "--config", "设置文件，见运维手册（默认没有，全取默认值）",
        "settings file, see the operator's manual (default: none, all defaults)",
    )  # fmt: skip
    serve.argument(
        "--workers", "进程数，默认 1；多个进程需要 PostgreSQL", "processes, default 1; more need PostgreSQL",
        type=values.positive, default=1,
    )  # fmt: skip


def _messages(commands: Commands) -> None:
    try_ = command(
        commands, "try", "try_view:run", "翻译文件，列出 FHIR、未用字段和错误",
        "translate files and show FHIR, unused fields, errors",
    )  # fmt: skip
    try_.argument("files", "文件或目录", "files or folders", nargs="*")
    try_.argument(
        "--source", "用哪个来源的映射（默认只用基础映射）", "whose mapping (default: the base maps alone)",
        default="sandbox",
    )  # fmt: skip
    try_.argument("--mappings", "自己的映射目录", "own mapping folder", default="")
    try_.argument(
        "--view", "不读文件，读这个来源的数据库视图里最新的几行", "read the newest rows of this source's database view",
        default="", metavar="SOURCE",
    )  # fmt: skip
    try_.argument(
        "--rows", "从视图读几行（默认 20）", "rows to read of the view (default: 20)", type=values.positive, default=20
    )
    try_.argument(
        "--json",
        "每条消息一行 JSON；一个文件可有多条",
        "a JSON line for each message; a file may hold several",
        action="store_true",
    )
    load = command(
        commands, "load", "load:run", "把文件或目录送进运行中网关的推送口",
        "push files or folders through the push door of a running gateway",
    )  # fmt: skip
    load.argument("paths", "文件或目录", "files or folders", nargs="+")
    load.argument("--source", "它们来自哪个来源（来源名）", "name of the source they come from", required=True)
    load.argument(
        "--home", "数据目录，其中的 demo.json 写明网关的地址（默认 .demo）", "home whose demo.json names the gateway",
        default=".demo",
    )  # fmt: skip
    load.argument(
        "--push", "推送口的地址，代替 demo.json", "address of the push door, instead of demo.json", default=""
    )
    load.argument(
        "--token", "存放令牌的文件，代替 demo.json", "file holding the token, instead of demo.json", default=""
    )
    load.argument("--json", "每个应答一行 JSON", "one JSON line an answer", action="store_true")


def _lines(commands: Commands) -> None:
    """Both ends of an MLLP line."""
    send = command(
        commands, "send", "simulate:run_send", "用 MLLP 发送 HL7 v2 消息，打印应答",
        "send HL7 v2 messages over MLLP and print the answers",
    )  # fmt: skip
    send.argument("file", "一条或几条消息，换行符不限", "one or several messages, line ends of any kind")
    send.argument(
        "--mllp", "对方的地址（默认 127.0.0.1:2575）", "default: 127.0.0.1:2575",
        type=values.address, default="127.0.0.1:2575", metavar="HOST:PORT",
    )  # fmt: skip
    send.argument(
        "--tls", "走 TLS，并核验服务器的证书", "over TLS; the server's certificate is checked", action="store_true"
    )
    for name, zh, en in (
        ("--ca", "签发服务器证书的 CA（PEM）", "PEM of the CA that signed the server's certificate"),
        ("--cert", "发送方自己的证书（PEM）", "PEM of the sender's own certificate"),
        ("--key", "它的私钥（PEM），不在 --cert 文件里时写明", "PEM of its key, when it is not in --cert"),
    ):
        send.argument(name, zh, en, default="", metavar="FILE")
    listen = command(
        commands, "listen", "simulate:run_listen", "用 MLLP 接收 HL7 v2 消息，打印并应答",
        "receive HL7 v2 over MLLP, print, acknowledge",
    )  # fmt: skip
    listen.argument("--host", "监听地址（默认 127.0.0.1）", "default: 127.0.0.1", default="127.0.0.1")
    listen.argument(
        "--port", "监听端口（默认 2576）；0 取空闲端口", "default: 2576; 0 takes a free one",
        type=values.port, default=2576,
    )  # fmt: skip
    listen.argument(
        "--count", "收到这么多条消息就停止（默认不停）", "stop after so many messages (default: never)",
        type=values.positive, default=0,
    )  # fmt: skip


def _inbox(commands: Commands) -> None:
    inbox = command(
        commands, "inbox", "inbox:run", "收件箱：收到了什么，结果如何", "what was received and what became of it"
    )
    actions = inbox.commands("action", dest="action")
    for name, zh, en in (
        ("list", "列出消息，最新的在前", "newest first"),
        ("show", "一条消息的全部内容", "one message, whole"),
        ("groups", "隔离或挂起的消息，按原因归组", "what is quarantined or parked, by cause"),
        ("replay", "重新处理", "process again"),
    ):
        action = command(actions, name, "", zh, en)
        place(action)
        json_lines(action)
        if name == "show":
            action.argument("key", "消息编号，如 m12", "number of the message, like m12")
        else:
            _chosen(action, name)
    _prune(actions)


def _chosen(action: Parser, name: str) -> None:
    """The flags that choose messages of the inbox."""
    _state(action, name)
    action.argument("--source", "只取这个来源的", "only this source", default="")
    action.argument(
        "--reason", "只取这个错误代码的，如 GW-TRN-003", "only this error code, like GW-TRN-003", default=""
    )
    action.argument(
        "--mapping-version", "只取按这个版本的映射处理的", "only what this version of a mapping was tried on",
        default="",
    )  # fmt: skip
    action.argument(
        "--since", "只取这时及以后收到的，如 2026-03-10T08:00", "only what came then or later, 2026-03-10T08:00",
        type=values.moment, metavar="TIME",
    )  # fmt: skip
    action.argument("--until", "只取这时以前收到的", "only what came before", type=values.moment, metavar="TIME")
    action.argument(
        "--place", "只取在这个位置出错的，如 OBX-5", "only with the fault at this place, like OBX-5", default=""
    )
    if name == "list":
        action.argument(
            "--limit", "最多几条（默认 50）", "at most so many (default: 50)", type=values.positive, default=50
        )
    if name == "replay":
        action.argument("keys", "消息编号，如 m12，可写几个", "numbers of messages, like m12", nargs="*")


def _state(action: Parser, name: str) -> None:
    states = ("quarantined", "parked") if name == "groups" else tuple(_STATES)
    zh = "只取这个状态的：" + "，".join(f"{one} {_STATES[one]}" for one in states)
    en = f"only in this state: {', '.join(states)}"
    if name != "list":  # without it, replay takes these of what its other flags choose
        zh, en = f"{zh}（默认 quarantined）", f"{en} (default: quarantined)"
    default = "quarantined" if name == "groups" else None
    action.argument("--state", zh, en, choices=states, default=default, metavar="STATE")


def _prune(actions: Commands) -> None:
    prune = command(
        actions, "prune", "inbox_prune:run", "清理已过 [[keep]] 保存天数的原文",
        "let go of originals past the days of [[keep]]",
    )  # fmt: skip
    prune.argument(
        "--config", "gateway.toml，规则和数据目录都取其中的", "the gateway.toml whose rules and home count",
        required=True,
    )  # fmt: skip
    prune.argument("--dry-run", "只说明会删什么", "only say what would go", action="store_true")
    prune.argument(
        "--limit", "最多查看几条消息", "look at so many messages at most", type=values.positive, default=1 << 40
    )
    json_lines(prune)


def _store(commands: Commands) -> None:
    store = command(commands, "store", "store:run", "维护库中的数据", "look after the store")
    actions = store.commands("action", dest="action")
    for name, zh, en in (
        ("stats", "行数、字节数、人数", "rows, bytes, persons"),
        (
            "verify", "核对审计链；SQLite 须先停止网关",
            "check the audit chain; on SQLite the gateway must be stopped",
        ),
        (
            "migrate", "把数据结构升级到本版本；网关启动时也会自动执行",
            "bring the schema to this release; the gateway does so itself when it starts",
        ),
        (
            "reindex", "重建索引，新版本提示需要时运行；SQLite 须先停止网关",
            "make again what resources are found by, after a release that says so; SQLite: gateway stopped",
        ),
        (
            "backup", "资源、消息、审计备份成一个文件，网关照常运行",
            "store, inbox and audit as one file, while the gateway runs",
        ),
        (
            "restore", "把备份恢复到空目录或空 schema，并核对",
            "a backup into an empty home or schema, verified",
        ),
        (
            "move", "把内嵌数据目录的全部内容移到 PostgreSQL，逐表核对；须先停止网关",
            "all of an embedded store into PostgreSQL, compared table by table; gateway stopped",
        ),
    ):  # fmt: skip
        action = command(actions, name, "", zh, en)
        place(action)
        if name in ("backup", "restore"):
            action.argument("file", "备份文件", "the backup file")
        if name == "move":
            text = "目标，schema 须是空的", "where to, an empty schema"
            action.argument("--to", *text, required=True, metavar="postgresql://…")
        if name in ("verify", "restore"):
            action.argument(
                "--head", "以前核对时记下的链尾：核对此后没有记录被删去",
                "an end of the chain noted before: nothing has been cut off since", type=values.chain_end,
            )  # fmt: skip
        json_lines(action)


def _generate(commands: Commands) -> None:
    generate = command(
        commands, "generate", "generate:run", "生成合成居民，按各成员自己的格式写出",
        "a synthetic population in every member's own format",
    )  # fmt: skip
    generate.argument("--residents", "居民人数（默认 100）", "default: 100", type=values.positive, default=100)
    generate.argument(
        "--seed", "种子；同一种子得到同样的居民（默认 1）", "the same seed, the same residents (default: 1)",
        type=values.whole, default=1,
    )  # fmt: skip
    generate.argument(
        "--out", "写到这个目录，每个来源一个子目录", "folder to write, one sub-folder a source", required=True
    )


if __name__ == "__main__":
    sys.exit(main())
