"""What a command beside a gateway works on: its kept messages and a look into its store, on either engine.

Where they are: `--url postgresql://…`, else what the settings file of `--config` names, else `--home`.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ..config import load
from ..errors import ConfigError
from ..inbox.queue import Inbox, open_inbox
from ..settings import Settings
from ..store.look import Look, open_look
from ..store.sqlite_file import refuse_moved


class Beside:
    """Kept messages, and the store they went to, opened when it is first asked for."""

    def __init__(self, inbox: Inbox, url: str) -> None:
        self.inbox, self._url = inbox, url
        self._look: Look | None = None

    async def store(self) -> Look:
        """A look into the store."""
        if self._look is None:
            must_be_there(self._url, "store.db")
            self._look = await open_look(self._url)
        return self._look

    async def close(self) -> None:
        """Both."""
        if self._look is not None:
            await self._look.close()
        await self.inbox.close()


def settings_of(args: argparse.Namespace) -> Settings:
    """Those of `--config`, else all defaults."""
    return load(Path(args.config)) if args.config else Settings()


def url_of(args: argparse.Namespace, settings: Settings) -> str:
    """`sqlite:///home` or `postgresql://…`."""
    if getattr(args, "url", ""):
        return str(args.url)
    if args.config:
        return settings.store.url or f"sqlite:///{Path(settings.gateway.home).absolute()}"
    return f"sqlite:///{Path(args.home).absolute()}"


def home_of(url: str) -> Path | None:
    """The folder of an embedded store; None for a database."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def must_be_there(url: str, name: str) -> None:
    """Raises ConfigError where no gateway ever ran, for a look must not make a home, and where none runs any more."""
    home = home_of(url)
    if home is not None and not (home / name).is_file():
        zh = f"那里没有 {name}，请用 --home 或 --config 指明网关的数据目录。"
        raise ConfigError(f"--home {home}", f"no {name} there", detail_zh=zh)
    if home is not None:
        refuse_moved(home)


@asynccontextmanager
async def beside(args: argparse.Namespace) -> AsyncIterator[Beside]:
    """Both, closed at the end. Raises ConfigError where no gateway ever ran."""
    settings = settings_of(args)
    url = url_of(args, settings)
    must_be_there(url, "inbox.db")
    made = Beside(await open_inbox(home_of(url) or Path(), url, settings.inbox), url)
    try:
        yield made
    finally:
        await made.close()
