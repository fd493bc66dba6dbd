"""`gateway serve`: the gateway for real members, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path

import uvloop

from ..app import Gateway, Listening, listening
from ..config import load
from ..errors import ConfigError, GatewayError
from ..settings import Http, Settings
from .talk import Exit, say
from .workers import supervise

_LINE = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # one that comes during the start waits for its end
    logging.basicConfig(format=_LINE, datefmt="%Y-%m-%dT%H:%M:%S%z")
    settings = load(Path(args.config) if args.config else None)
    if args.workers > 1 and not settings.store.url.startswith("postgresql"):
        raise ConfigError(
            "--workers",
            "SQLite has exactly one writing process; more workers need PostgreSQL",
            detail_zh="SQLite 只能有一个写入进程；多个进程请改用 PostgreSQL。",
        )
    _check_home(Path(settings.gateway.home))
    accounts = Accounts(Path(args.config) if args.config else None, settings)
    if args.workers > 1:
        return _serve_many(accounts, args.workers)
    run_loop(_serve(accounts))
    return Exit.OK


class Accounts:
    """The settings a process began with, and the accounts of the file as it is now."""

    def __init__(self, path: Path | None, settings: Settings) -> None:
        self._path, self.settings = path, settings
        self.stale = False

    def renew(self) -> None:
        """Read the file again; nothing but its accounts is taken over. Raises ConfigError, and all is as before."""
        found = load(self._path)
        self.stale = replace(found, token=()) != replace(self.settings, token=())
        self.settings = replace(self.settings, token=found.token)


def _serve_many(accounts: Accounts, workers: int) -> int:
    """Each worker is a whole gateway on sockets bound here, so that no connection is refused while one starts anew."""
    shared = listening(accounts.settings)

    def work(number: int, stop: int) -> int:
        run_loop(_serve(accounts, shared, number, stop))
        return Exit.OK

    def reload() -> None:
        with contextlib.suppress(ConfigError):  # each worker says what is wrong
            accounts.renew()  # for those that start later

    return supervise(work, workers, reload)


def _check_home(home: Path) -> None:
    """Raises ConfigError when the gateway could not keep anything there."""
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ConfigError(
            f"gateway.home {home}", f"{fault.strerror}", detail_zh=f"不能建立这个目录：{fault.strerror}"
        ) from fault
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"gateway.home {home}", "no right to write there", detail_zh="没有写入权限。")


async def _serve(accounts: Accounts, shared: Listening | None = None, number: int = 0, parent: int = -1) -> None:
    settings = accounts.settings
    gateway = await Gateway.open(settings, worker=number)
    try:
        await gateway.start(shared, folders=number == 0)
        _reload_on_hangup(gateway, accounts)
        if parent >= 0:
            gateway.proof.tell_others = partial(os.kill, os.getppid(), signal.SIGHUP)
        say("  ".join((address_of(settings.http, gateway.http_port), *_lines(gateway))))
        await stopped(parent)
    finally:
        await gateway.close()


def _lines(gateway: Gateway) -> list[str]:
    """The doors that are open besides HTTP."""
    mllp, dicom = gateway.settings.mllp, gateway.settings.dicom
    found = [f"mllp {mllp.host}:{gateway.mllp_port}"] if gateway.mllp_port else []
    return [*found, f"dicom {dicom.ae_title}@{dicom.host}:{gateway.dicom_port}"] if gateway.dicom_port else found


def address_of(http: Http, port: int) -> str:
    """What a browser is given to come to this port."""
    host = f"[{http.host}]" if ":" in http.host else http.host
    return f"{'https' if http.tls_cert else 'http'}://{host}:{port}"


def _reload_on_hangup(gateway: Gateway, accounts: Accounts) -> None:
    """SIGHUP lets the accounts on disk serve, and the mappings once they are proven; says what came of it."""
    running = set[asyncio.Task[None]]()

    async def reload() -> None:
        await _adopt(gateway, accounts)
        proof = await gateway.proof.attempt(switch=True)
        changed = f"{proof.touched} / {proof.seen} 条最近的消息会有变化 / recent messages change"
        kept = f"{proof.code} {proof.place} {proof.zh}"
        say(f"映射已启用 / mappings switched: {changed}" if proof.switched else kept)

    def begin() -> None:
        task = asyncio.ensure_future(reload())
        running.add(task)
        task.add_done_callback(running.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, begin)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


async def _adopt(gateway: Gateway, accounts: Accounts) -> None:
    before = accounts.settings
    try:
        accounts.renew()
        changes = await gateway.adopt(accounts.settings)
    except GatewayError as fault:
        accounts.settings = before
        say(f"账号没有重新载入 / accounts were not read again: {fault.code} {fault.sentence_zh()}")
        return
    said = {"added": "新增", "removed": "停用", "changed": "变更"}
    if changes:
        told = "，".join(f"{said[change]} {user}" for user, change in changes.items())
        say(f"账号已重新载入 / accounts read again: {told}")
    if accounts.stale:
        say("gateway.toml 里账号以外的改动重启后才生效 / other changes of gateway.toml need a restart")


async def stopped(parent: int = -1) -> None:
    """Returns at the first SIGINT or SIGTERM, or when the other end of the pipe `parent` is closed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if parent >= 0:
        loop.add_reader(parent, stop.set)
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()


def run_loop(work: Coroutine[object, object, None]) -> None:
    """Run on uvloop, which doubles what one process serves."""
    uvloop.run(work)
