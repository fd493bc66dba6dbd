"""`gateway demo`: the whole thing in one command, on synthetic members, on loopback."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
import webbrowser
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..app import Gateway
from ..inbound.mllp import send
from ..model.directory import Directory, Source
from ..model.times import CHINA, instant_text, parse_fhir, system_clock
from ..security.tokens import demo_credentials, demo_tokens
from ..settings import Dicom, General, Http, Mllp, Settings
from ..shipped import shipped
from ..translate.sources import AE_TITLES
from .serve import run_loop, stopped
from .talk import Exit, say, tracked

_EVERY_S = 5.0
_DOCTOR_AT = "township_health_centre"
_PACS = "city_first_pacs"


@dataclass(frozen=True, slots=True)
class _Fixtures:
    """The demo's data, imported from the folder that travels with the package."""

    cases: Any
    pacs: Any
    stream: Any


def run(args: argparse.Namespace) -> int:
    """Start, load the twelve residents, print the addresses, run until interrupted."""
    begun = time.monotonic()
    home = Path(args.home)
    home.mkdir(parents=True, exist_ok=True)
    run_loop(_demo(args, home, begun))
    return Exit.OK


async def _demo(args: argparse.Namespace, home: Path, begun: float) -> None:
    fixtures = _fixtures()
    tokens = demo_tokens(home)
    anchor = _anchor(home)
    cases = fixtures.cases.cases(shipped("fixtures"), anchor)
    pacs = await fixtures.pacs.serve("127.0.0.1", 0, [case.body for case in cases if case.format == "dicom"])
    settings = _settings(args, home, f"http://127.0.0.1:{pacs.sockets[0].getsockname()[1]}")
    credentials = demo_credentials(tokens, doctor_member=_DOCTOR_AT)
    gateway = await Gateway.open(settings, credentials=credentials)
    try:
        await gateway.start()
        took = f"{time.monotonic() - begun:.1f}"
        say(f"{took} 秒启动完毕，正在装入演示数据 / started in {took} s, loading")
        facts = _facts(gateway, tokens)
        (home / "demo.json").touch(0o600)  # the tokens are in it
        (home / "demo.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
        await _load(gateway, cases)
        _welcome(facts, home, begun)
        if not args.no_browser:
            webbrowser.open(_door(facts, "doctor"))
        stream = asyncio.create_task(_stream(gateway, fixtures.stream)) if not args.no_stream else None
        await stopped()
        if stream:
            stream.cancel()
    finally:
        say("正在停止 / stopping")
        await gateway.close()
        pacs.close()


def _fixtures() -> _Fixtures:
    sys.path.insert(0, str(shipped("fixtures").parent))
    from importlib import import_module

    return _Fixtures(*(import_module(f"fixtures.{name}") for name in ("cases", "pacs", "stream")))


def _settings(args: argparse.Namespace, home: Path, pacs: str) -> Settings:
    return Settings(
        gateway=General(home=str(home)),
        http=Http(port=_free(args.port)),
        mllp=Mllp(port=_free(args.mllp_port)),
        dicom=Dicom(port=_free(args.dicom_port)),
        source={_PACS: {"address": pacs, "calling_ae": "CITYPACS"}},
    )


def _free(port: int) -> int:
    """The port, or a free one when somebody else has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            say(f"端口 {port} 已被占用，改用空闲端口 / port {port} is taken, using a free one")
            return 0
    return port


def _anchor(home: Path) -> datetime:
    """The moment the stories are told at: 09:00 of the day this home first started.

    Before 10:30 it is the day before, because the last thing the stories tell happens at 10:05 of their day.
    """
    path = home / "anchor"
    if not path.exists():
        path.write_text(instant_text(_nine_o_clock(system_clock())), encoding="utf-8")
    return parse_fhir(path.read_text(encoding="utf-8"))


def _nine_o_clock(now: datetime) -> datetime:
    day = now.astimezone(CHINA)
    if (day.hour, day.minute) < (10, 30):
        day -= timedelta(days=1)
    return day.replace(hour=9, minute=0, second=0, microsecond=0)


async def _load(gateway: Gateway, cases: list[Any]) -> None:
    """The fixtures through the inbox, in their order; a home that has them already is left alone."""
    if await gateway.inbox.messages.entries(limit=1):
        return
    for case in tracked(cases, len(cases), "装入演示数据 / loading"):
        if case.format == "v2":
            await gateway.intake.v2(case.body, gateway.directory.sources[case.source], case.file_name)
        else:
            await gateway.intake.push(gateway.directory.sources[case.source], case.body, case.file_name)
        await gateway.worker.drained()


async def _stream(gateway: Gateway, stream: Any) -> None:
    """A new message every few seconds, over a real socket like any hospital's."""
    number = 0
    while True:
        await asyncio.sleep(_EVERY_S)
        number += 1
        message = stream.message(number, system_clock())
        await send("127.0.0.1", gateway.mllp_port, [message])


def _facts(gateway: Gateway, tokens: dict[str, str]) -> dict[str, Any]:
    base = f"http://127.0.0.1:{gateway.http_port}"
    return {
        "fhir": f"{base}/fhir",
        "ui": f"{base}/ui",
        "push": f"{base}/push",
        "console": f"{base}/console",
        "docs": f"{base}/docs",
        "mllp": f"127.0.0.1:{gateway.mllp_port}",
        "dicom": f"127.0.0.1:{gateway.dicom_port}",
        "tokens": tokens,
        "sources": _senders(gateway.directory, gateway.settings.dicom.ae_title),
    }


def _senders(directory: Directory, ae_title: str) -> dict[str, dict[str, str]]:
    return {name: _source(found, ae_title) for name in directory.sources if (found := directory.sending(name))}


def _source(source: Source, ae_title: str) -> dict[str, str]:
    """By which names it sends."""
    called = {"called_ae": ae_title} if "calling_ae" in source.settings else {}
    senders = {key: source.settings[key] for key in ("msh3", "msh4", *AE_TITLES) if key in source.settings}
    return {"format": source.format, **called, **senders}


def _door(facts: dict[str, Any], role: str, page: str = "/ui/") -> str:
    """Address of the sign-in form with the token filled in; what stands behind the `#` never leaves the browser."""
    return f"{facts['ui']}/signin?next={page}#token={facts['tokens'][role]}"


def _welcome(facts: dict[str, Any], home: Path, begun: float) -> None:
    pacs = facts["sources"][_PACS]
    say(
        f"""
医联体健康档案网关 · 演示已就绪（{time.monotonic() - begun:.0f} 秒）

  医生页面   {_door(facts, "doctor")}
             试查：990101194201150996（吴德福）、孙浩 2019-05、zhangshen 1955-06
  厂商控制台 {_door(facts, "vendor", "/console/")}
  FHIR       {facts["fhir"]}
  MLLP       {facts["mllp"]}
  DICOM      {facts["dicom"]}，被叫 AE {pacs["called_ae"]}，主叫 AE {pacs["calling_ae"]}
  手册       {facts["docs"]}

  curl -H "Authorization: Bearer {facts["tokens"]["platform"]}" "{facts["fhir"]}/Patient?name=zhangshen"
  gateway send {shipped("fixtures") / "hello.hl7"} --mllp {facts["mllp"]}

地址里已带登录令牌，点开按回车即可。地址和令牌也在 {home / "demo.json"}。Ctrl-C 停止。
"""
    )
