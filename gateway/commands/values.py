"""Values of flags as a command line writes them; what is wrong with one is told in Chinese before anything runs."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import datetime

from ..model.times import parse_fhir


def port(text: str) -> int:
    """A number a socket can have; 0 lets the system choose."""
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise ArgumentTypeError(f"{text!r} 不是端口号（0 到 65535）。")


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:PORT` or `PORT`; the host is loopback when left out."""
    host, _, number = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", port(number)


def positive(text: str) -> int:
    """A count of which none would ask for nothing."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise ArgumentTypeError(f"{text!r} 应是大于 0 的整数。")


def whole(text: str) -> int:
    """A number of which 0 is one like the others."""
    if text.isdecimal():
        return int(text)
    raise ArgumentTypeError(f"{text!r} 应是 0 或大于 0 的整数。")


def msh3_msh4(text: str) -> tuple[str, str]:
    """`MSH-3/MSH-4`, both of them: a sender is known by the pair alone."""
    msh3, _, msh4 = (part.strip() for part in text.partition("/"))
    if msh3 and msh4 and "/" not in msh4:
        return msh3, msh4
    raise ArgumentTypeError(f"{text!r} 应写成 MSH-3/MSH-4 两部分，如 LIS/QYY。")


def reference(text: str) -> str:
    """`Type/id`, as FHIR refers to a resource."""
    if re.fullmatch(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}", text):
        return text
    raise ArgumentTypeError(f"{text!r} 应写成 类型/编号，如 Observation/abc。")


def chain_end(text: str) -> tuple[int, str]:
    """An end of the audit chain as `store verify` prints it."""
    if found := re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text):
        return int(found[1]), found[2]
    raise ArgumentTypeError(f"{text!r} 不是 store verify 打印的链尾（条数:64 位十六进制）。")


def workbook(text: str) -> str:
    """The name of an .xlsx file: the older .xls is another format."""
    if text.lower().endswith(".xlsx"):
        return text
    raise ArgumentTypeError(f"{text!r} 应是 .xlsx 文件。")


def moment(text: str) -> datetime:
    """A day or a time of day, in +08:00 where it names no zone."""
    try:
        return parse_fhir(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} 不是日期时间，应如 2026-03-10 或 2026-03-10T08:00。") from None
