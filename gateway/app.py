"""The only place where the parts are joined: settings in, a running gateway out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from .alliance.directory import introduce
from .commands.maps import golden
from .config import password_of
from .errors import ConfigError, GatewayError
from .identity.index import PersonIndex
from .inbound.db_view.door import ViewDoors
from .inbound.dicom import DicomDoor
from .inbound.files import FolderDoor
from .inbound.http_push import PushParts, push_routes
from .inbound.http_server import HttpServer
from .inbound.intake import Intake
from .inbound.lines import cannot_listen
from .inbound.mllp import MllpDoor
from .inbound.preparer import Preparer
from .inbox.proof import Golden, MappingProof
from .inbox.prune import Retention
from .inbox.queue import open_inbox
from .inbox.worker import Worker
from .model.context import AccessContext
from .model.directory import Directory, Source
from .model.ids import Ids
from .model.times import Clock, system_clock
from .outbound.console.routes import console_routes
from .outbound.dicom_web import dicom_web_routes
from .outbound.fhir_routes import FhirDoor, smart_routes
from .outbound.health import health_routes
from .outbound.manual import manual_routes
from .outbound.metrics import metrics_routes
from .outbound.pages.routes import page_routes
from .outbound.readers import Readers
from .outbound.v2_query import V2Query
from .pipeline import Parts, Pipeline, Work
from .recognise.check import check as check_rules
from .security.access import Access, request_id_of
from .security.associations import Associations
from .security.audit import account_row
from .security.certificates import Certificates
from .security.http import Guard, Limits, handle_gateway_error, headers_of
from .security.pressure import Pressure
from .security.scopes import Door
from .security.times import RequestTimes
from .security.tokens import Credential, TokenBook, configured
from .settings import Settings
from .shared import Shared, addresses_of, drug_classes, pacs_of, rule_sheet
from .shipped import folders as folders_of
from .store.base import Store
from .store.index import keep_parameters
from .store.resources import open_store
from .store.sqlite_file import make_private
from .translate.engine import Mappings
from .validate.elements import R4Elements

log = logging.getLogger("gateway")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_STOP_S = 15
_DOORS = frozenset({"fhir", "push", "ui", "console", "dicom-web", "docs", "health", "metrics"})
"""First steps of paths that `/metrics` tells apart."""


class Gateway:
    """Everything one process runs. `open`, then `start`, in the end `close`."""

    def __init__(self, shared: Shared, mappings: Mappings, given: Sequence[Credential] = ()) -> None:
        """given: accounts beside those of the settings."""
        self._given = given
        self.shared, self.mappings, self.settings = shared, mappings, shared.settings
        self.store, self.inbox, self.access, self.directory = (
            shared.store,
            shared.inbox,
            shared.access,
            shared.directory,
        )
        parts = Parts(shared.store, mappings, shared.people, shared.ids, shared.clock, shared.preparer.puts)
        self.pipeline = Pipeline(parts)
        self.worker: Worker[Work] = Worker(
            shared.inbox, self.pipeline.prepare, self.pipeline.finish, self.pipeline.join, shared.store.done,
            rules=shared.settings.inbox, clock=shared.clock,
        )  # fmt: skip
        self.proof = MappingProof(
            mappings, partial(_mappings, shared.settings), _golden(shared.settings), shared.inbox, shared.clock,
            shared.settings.gateway.shadow,
        )  # fmt: skip
        self.proof.introduce = self._introduce
        ask = V2Query(shared.store, mappings, shared.clock).answer
        self.intake = Intake(shared.inbox, mappings, shared.clock, self._outcome, ask)
        self.mllp = MllpDoor(self.intake, shared.settings.mllp)
        self.dicom = DicomDoor(self.intake, shared.directory, shared.settings.dicom, shared.associations)
        self.app = self._app()
        self.http_port = self.mllp_port = self.dicom_port = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._server: HttpServer | None = None

    @classmethod
    async def open(
        cls, settings: Settings, *, clock: Clock = system_clock, credentials: Sequence[Credential] = (), worker: int = 0
    ) -> Gateway:
        """Check the settings, open the files, introduce the members. Raises ConfigError.

        worker: number of this process among those of the house.
        """
        _refuse_unsafe(settings)
        home = Path(settings.gateway.home)
        home.mkdir(parents=True, exist_ok=True)
        make_private(home)
        mappings = _mappings(settings)
        directory = mappings.directory
        _refuse_strangers(settings, directory)
        profiles = folders_of(settings.gateway.profiles, "profiles")
        keep_parameters(profiles)
        store = await open_store(settings.store.url or f"sqlite:///{home}", clock=clock)
        ids = Ids(store.store_key)
        book = TokenBook([*credentials, *configured(settings.token)])
        sheet = rule_sheet(profiles, settings.gateway.rules)
        for finding in check_rules(sheet, directory, clock()):
            log.warning("%s %s %s", finding.code, finding.place, finding.en)
        shared = Shared(
            settings=settings,
            clock=clock,
            store=store,
            inbox=await open_inbox(home, settings.store.url, settings.inbox),
            access=Access(
                book,
                directory,
                key=store.store_key,
                clock=clock,
                home=home,
                trusted_proxies=frozenset(settings.http.proxies),
            ),
            directory=directory,
            people=PersonIndex(store, ids, clock, directory),
            ids=ids,
            sheet=sheet,
            ranges=mappings.ranges(),
            classes=drug_classes(profiles),
            pacs=pacs_of(directory, clock),
            preparer=Preparer(settings.fhir.preparing, profiles),
            readers=_readers(settings, store, profiles),
            times=RequestTimes(_DOORS),
            associations=Associations(clock),
            worker=worker,
            certificates=Certificates(clock),
        )
        await introduce(store, directory, ids)
        return cls(shared, mappings, credentials)

    async def adopt(self, settings: Settings) -> dict[str, str]:
        """The accounts of these settings from now on, told in the audit: what became of whom. Raises ConfigError."""
        _refuse_strangers(settings, self.directory)
        changes = self.access.become([*self._given, *configured(settings.token)])
        if self.shared.worker == 0:  # once for all processes of the house
            for user, change in changes.items():
                await self.store.disclose(account_row(self.shared.clock(), user, change))
        return changes

    async def _introduce(self, new: Mappings) -> Callable[[], None]:
        """Write down new members; gives what is left to do once the new mappings serve."""
        shared, ranges = self.shared, new.ranges()
        await introduce(shared.store, new.directory, shared.ids)

        def adopt() -> None:
            shared.ranges.become(ranges)
            shared.pacs.allow(addresses_of(shared.directory))
            for finding in check_rules(shared.sheet, shared.directory, shared.clock()):
                log.warning("%s %s %s", finding.code, finding.place, finding.en)

        return adopt

    def _app(self) -> Guard:
        """The ASGI application: pure-ASGI rings around routes; FastAPI only carries them (D13)."""
        app = FastAPI(title="alliance-gateway", docs_url=None, redoc_url=None, openapi_url=None)
        app.router.routes.extend(self._routes())
        app.add_exception_handler(GatewayError, handle_gateway_error)
        inner = GZipMiddleware(app, minimum_size=1024, compresslevel=4)
        ahead = {"fhir": FhirDoor(self.shared.fhir())}
        given = self.settings.limits
        bundle = given.bundle_mb * 2**20
        limits = Limits(given.body_mb * 2**20, {"/fhir": bundle, "/fhir/": bundle})
        pressure = Pressure(given.waiting, given.waiting_mb * 2**20)
        proxies = self.settings.http.proxies
        return Guard(inner, limits, pressure, ahead=ahead, proxies=proxies, times=self.shared.times)

    def _routes(self) -> list[BaseRoute]:
        shared = self.shared
        push = PushParts(self.intake, self.directory, self._outcome, self._caller(Door.PUSH))
        return [
            *page_routes(shared.pages()),
            *console_routes(shared.console(self.mappings, self.proof)),
            *push_routes(push),
            *dicom_web_routes(shared.dicom_web(self._caller(Door.DICOM_OUT))),
            *health_routes(shared.store, shared.failing_views),
            *metrics_routes(shared.metrics(self._caller(Door.METRICS))),
            *manual_routes(),
            *smart_routes(),
            Route("/", _to_pages),
        ]

    def _caller(self, door: Door) -> Callable[[Request], Awaitable[AccessContext]]:
        async def caller(request: Request) -> AccessContext:
            headers = headers_of(request.scope)
            peer = request.client.host if request.client else ""
            address = self.access.address(peer, headers)
            return self.access.enter(door, request.method, headers, address, request_id_of(headers))

        return caller

    async def _outcome(self, key: str) -> bytes | None:
        entry = await self.inbox.messages.entry(key)
        if entry is not None and entry.outcome:
            return entry.outcome.encode()
        return (await self.store.done([key])).get(key)

    async def start(self, listening: Listening | None = None, *, folders: bool = True) -> None:
        """Open all doors; returns when they listen.

        listening: sockets this process shares with others. folders: watch folders and views, which one process does for
        all.
        """
        shared, settings, shown = listening or Listening(), self.settings, self.shared.certificates
        self._begin(self.worker.run())
        if settings.mllp.port >= 0:
            self.mllp_port = await self.mllp.start(settings.mllp.host, settings.mllp.port, shared.mllp, shown)
        if settings.dicom.port >= 0:
            self.dicom_port = await self.dicom.start(settings.dicom.host, settings.dicom.port, shared.dicom, shown)
        for folder in settings.folder if folders else ():
            source = self.directory.sending(folder.source)
            if source is None:
                raise ConfigError(
                    f"folder: {folder.path}",
                    f"unknown source {folder.source!r}",
                    detail_zh=f"映射里没有来源 {folder.source!r}。",
                )
            self._begin(FolderDoor(self.intake, source, Path(folder.path)).run())
        if folders:
            self._begin(self._views().run())
            self._begin(self._retention().run())
        await self._listen(shared.http)
        settle_interpreter()

    def _views(self) -> ViewDoors:
        return ViewDoors(self.intake, self.inbox.messages.positions, self.directory, password_of, self.shared.clock)

    def _retention(self) -> Retention:
        shared, settings = self.shared, self.settings
        return Retention(
            shared.inbox, shared.store, settings.keep, shared.clock, replay_days=settings.inbox.replay_days
        )

    async def _listen(self, listener: socket.socket | None) -> None:
        http = self.settings.http
        listener = listener or _bound("http.port", http.host, http.port)
        self.http_port = int(listener.getsockname()[1])
        self._server = HttpServer(self.app, http, self.settings.limits, stop_s=_STOP_S)
        try:
            self._server.config.load()
        except OSError as fault:  # of TLS too
            raise ConfigError(
                "http.tls_cert", f"not a certificate with its key: {fault}", detail_zh="证书与私钥不可用，或不是一对。"
            ) from fault
        if (tls := self._server.config.ssl) is not None:
            self.shared.certificates.show("http", tls, (http.tls_cert, http.tls_key, ""))
        self._begin(self.shared.certificates.run())
        self._begin(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._tasks[-1].done():
                raise ConfigError(
                    "http",
                    "the HTTP server did not start; see the log",
                    detail_zh="HTTP 服务没有启动，原因见日志。",
                )
            await asyncio.sleep(0.005)

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_ended)
        self._tasks.append(task)

    async def close(self) -> None:
        """Stop accepting, finish what was begun, close the files."""
        if self._server:
            self._server.should_exit = True
        await asyncio.gather(self.mllp.stop(), self.dicom.stop())
        await self.worker.stop()
        for task in self._tasks[1:] if self._server is None else self._tasks[1:-1]:
            task.cancel()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(asyncio.gather(*self._tasks, return_exceptions=True), _STOP_S)
        await self.shared.close()


def settle_interpreter() -> None:
    """Leave what a start made out of every collection, and let the writing threads have their turn.

    Walking the start's objects again and again took a third of a transaction; a busy event loop keeps a writer
    waiting for the interpreter up to the switch interval at each of its statements.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 5, 1_000)
    sys.setswitchinterval(0.0005)


def _ended(task: asyncio.Task[None]) -> None:
    """A part that ends by itself must not end in silence."""
    if not task.cancelled() and (fault := task.exception()) is not None:
        log.critical("a part of the gateway stopped", exc_info=fault)


@dataclass(frozen=True, slots=True)
class Listening:
    """Bound sockets, made before the processes that share them. None: the gateway binds its own."""

    http: socket.socket | None = None
    mllp: socket.socket | None = None
    dicom: socket.socket | None = None


def listening(settings: Settings) -> Listening:
    """Sockets on the addresses of the settings, accepting from now on. Raises ConfigError."""
    http, mllp, dicom = settings.http, settings.mllp, settings.dicom
    return Listening(
        _bound("http.port", http.host, http.port, 2048),
        _bound("mllp.port", mllp.host, mllp.port, 1024) if mllp.port >= 0 else None,
        _bound("dicom.port", dicom.host, dicom.port, 1024) if dicom.port >= 0 else None,
    )


def _bound(key: str, host: str, port: int, backlog: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        if backlog:
            listener.listen(backlog)
    except OSError as fault:
        listener.close()
        raise cannot_listen(key, host, port, fault) from fault
    return listener


def _refuse_unsafe(settings: Settings) -> None:
    """Nothing but loopback without TLS; plain MLLP and DICOM also for the addresses they are told to allow."""
    if settings.http.host not in _LOOPBACK and not (settings.http.tls_cert and settings.http.tls_key):
        raise ConfigError(
            "http.host",
            "any address but loopback needs http.tls_cert and http.tls_key",
            detail_zh="本机以外的地址须配 http.tls_cert 与 http.tls_key。",
        )
    for key, door in (("mllp", settings.mllp), ("dicom", settings.dicom)):
        if door.port >= 0 and door.host not in _LOOPBACK and not (door.tls_cert or door.allow):
            raise ConfigError(
                f"{key}.host",
                f"any address but loopback needs {key}.tls_cert or {key}.allow",
                detail_zh=f"本机以外的地址须配 {key}.tls_cert 或 {key}.allow。",
            )


def _refuse_strangers(settings: Settings, directory: Directory) -> None:
    """A name written wrong would pass unseen: a rule that never fits, so that the next one lets originals go; a
    doctor who is shown nothing."""
    named: list[tuple[str, str, Iterable[str]]]
    named = [(f"keep[{n}].source", one.source, directory.sources) for n, one in enumerate(settings.keep)]
    for one in settings.token:
        named.append((f"token.{one.user}.member", one.member, directory.members))
        named.append((f"token.{one.user}.alliance", one.alliance, directory.alliances))
    for key, name, known in named:
        if name and name not in known:
            some = ", ".join(sorted(known))
            raise ConfigError(key, f"{name!r} is none of {some}", detail_zh=f"映射里没有 {name!r}；有：{some}。")


def _mappings(settings: Settings) -> Mappings:
    """The mappings on disk under the directory of the settings. Raises MappingError.

    An operator's own are compiled before they serve; the shipped ones alone, proven with every release, when the
    first message of a kind comes: a start need not wait for them.
    """
    own = settings.gateway.mappings
    loaded = Mappings.load(folders_of(own, "mappings"), elements=R4Elements(), check=bool(own))
    return loaded.with_directory(_overridden(loaded.directory, settings.source))


def _readers(settings: Settings, store: Store, profiles: Sequence[Path]) -> Readers | None:
    """Over PostgreSQL it is gateways that share the work."""
    if not settings.fhir.reading or settings.store.url.startswith("postgres"):
        return None
    directory = Path(settings.store.url.removeprefix("sqlite:///") or settings.gateway.home)
    return Readers(settings.fhir.reading, directory, store.horizon, profiles)


def _golden(settings: Settings) -> Golden:
    """The operator's own cases: `<mappings>/tests/<source>/<message>/<name>/`."""
    folder = Path(settings.gateway.mappings) / "tests"

    def run(mappings: Mappings) -> tuple[int, list[str]]:
        found = golden(mappings, folder) if settings.gateway.mappings and folder.is_dir() else ()
        results = [one for one in found if one.expected]
        return len(results), [one.name for one in results if not one.same]

    return run


def _overridden(directory: Directory, settings: Mapping[str, Mapping[str, str]]) -> Directory:
    """The directory with `[source.<name>]` settings laid over those of the mappings."""
    sources = dict(directory.sources)
    for name, values in settings.items():
        known = sources.get(name)
        if known is None:
            raise ConfigError(
                f"source.{name}", "no mapping has a source of this name", detail_zh="映射里没有这个名字的来源。"
            )
        sources[name] = _with(known, values)
    return replace(directory, sources=sources)


def _with(source: Source, values: Mapping[str, str]) -> Source:
    return replace(source, settings={**source.settings, **values})


async def _to_pages(_: Request) -> Response:
    return RedirectResponse("/ui/")
