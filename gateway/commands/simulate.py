"""`gateway send` and `gateway listen`: the two ends of an MLLP line, for a vendor's engineer."""

from __future__ import annotations

import argparse
import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

from ..errors import InboundError
from ..inbound.mllp import Frames, send
from ..model.times import system_clock
from ..translate.read_v2 import ack, peek_v2
from .talk import Exit, say


def run_send(args: argparse.Namespace) -> int:
    """Send the messages of a file; prints each acknowledgement. Exit 5 when one was not AA or CA."""
    host, port = args.mllp
    messages = split_messages(Path(args.file).read_bytes())
    if not messages:
        say(f"{args.file}: 文件是空的，没有消息可发 / the file is empty")
        return Exit.USAGE
    if not args.tls and (args.ca or args.cert or args.key):
        say("--ca、--cert、--key 要与 --tls 一起用 / they go with --tls")
        return Exit.USAGE
    try:
        tls = _tls(args.ca, args.cert, args.key) if args.tls else None
    except (OSError, ssl.SSLError) as fault:
        say(f"证书或密钥读不了 / certificate or key cannot be read: {fault}")
        return Exit.CONFIG
    try:
        answers = asyncio.run(send(host, port, messages, tls=tls))
    except ssl.SSLError as fault:
        say(f"{host}:{port}: TLS 没有建立，请核对双方证书与 CA / TLS failed: {fault.reason or fault}")
        return Exit.UPSTREAM
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as fault:
        also = "，对方是不是 TLS 端口" if args.tls else ""
        say(f"{host}:{port}: 没有收到 MLLP 应答，请核对地址，网关是否在运行{also} / no answer ({type(fault).__name__})")
        return Exit.UPSTREAM
    for answer in answers:
        print(answer.decode(peek_v2(answer).charset, "replace").replace("\r", "\n").rstrip())
    accepted = all(b"|AA" in answer or b"|CA" in answer for answer in answers)
    return Exit.OK if accepted else Exit.PARTIAL


def _tls(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca or None)
    if certificate:
        made.load_cert_chain(certificate, key or None)
    return made


def split_messages(body: bytes) -> list[bytes]:
    """The messages of a file: each begins with MSH; line ends of any kind become CR."""
    lines = body.replace(b"\r\n", b"\r").replace(b"\n", b"\r").strip(b"\r\x0b\x1c \x00").split(b"\r")
    messages: list[list[bytes]] = []
    for line in lines:
        line = line.strip(b"\x0b\x1c")
        if line[:3] == b"MSH" or not messages:
            messages.append([])
        if line and line[:3] not in (b"FHS", b"BHS", b"BTS", b"FTS"):
            messages[-1].append(line)
    return [b"\r".join(one) + b"\r" for one in messages if one]


def run_listen(args: argparse.Namespace) -> int:
    """Receive v2 messages, print them, answer AA; until interrupted."""
    try:
        asyncio.run(_listen(args.host, args.port, args.count))
    except KeyboardInterrupt:
        say("已停止 / stopped")
    return Exit.OK


async def _listen(host: str, port: int, count: int) -> None:
    done = asyncio.Event()
    seen = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A line still open when we stop is cancelled; asyncio would print that as an error of ours.
        with suppress(asyncio.CancelledError):
            await answer(reader, writer)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        frames = Frames()
        while data := await reader.read(65536):
            for message, fault in frames.feed(data):
                seen += 1
                writer.write(b"\x0b" + _received(message, fault is None) + b"\x1c\r")
                if count and seen >= count:
                    await writer.drain()
                    done.set()
        writer.close()

    server = await asyncio.start_server(connected, host, port)
    say(f"等待消息 / listening on {host}:{server.sockets[0].getsockname()[1]}")
    async with server:
        await done.wait()


def _received(message: bytes, whole: bool) -> bytes:
    peek = peek_v2(message)
    print(message.decode(peek.charset, "replace").replace("\r", "\n"), flush=True)
    return ack(peek, "AA" if whole else "AR", None if whole else InboundError(), system_clock())
