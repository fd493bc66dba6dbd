"""Flags several commands have."""

from __future__ import annotations

from .parser import Parser


def place(parser: Parser) -> None:
    """The flags that say whose messages and store."""
    parser.argument(
        "--home", "网关的数据目录（默认 .demo）", "the gateway's home folder (default: .demo)", default=".demo"
    )
    parser.argument(
        "--config", "改用设置文件所写的数据目录或数据库", "settings file that names home or database, instead",
        default="",
    )  # fmt: skip
    parser.argument("--url", "改用这个数据库：postgresql://…", "postgresql://… of the database, instead", default="")


def json_lines(parser: Parser) -> None:
    """The flag of commands whose answer another program may read."""
    parser.argument("--json", "每行一个 JSON", "JSON lines", action="store_true")
