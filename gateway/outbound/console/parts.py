"""What the console is joined from, and how its handlers see a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from starlette.responses import Response

from ...errors import NotFound
from ...identity.steward import Steward
from ...inbox.proof import MappingProof
from ...inbox.queue import Entry, Inbox
from ...model.context import Role
from ...model.directory import Source
from ...model.outcome import Outcome
from ...security.associations import Associations
from ...translate.engine import Mappings
from ..pages import render
from ..pages.guard import Visit, html
from ..pages.parts import PageParts
from .views_messages import outcome_of


@dataclass(frozen=True, slots=True)
class ConsoleParts:
    """samples: the folder of the shipped fixtures."""

    pages: PageParts
    inbox: Inbox
    mappings: Mappings
    samples: Path
    steward: Steward
    proof: MappingProof
    associations: Associations


@dataclass(frozen=True, slots=True)
class Desk:
    """One request of somebody who may see the console."""

    visit: Visit
    parts: ConsoleParts

    @property
    def admin(self) -> bool:
        """True for the operator, who sees card numbers and may follow links into records."""
        return self.visit.who.role is Role.ADMIN

    def sources(self) -> dict[str, Source] | None:
        """Sources whose messages the caller may see: those of its own member. None = all, unknown senders too."""
        who = self.visit.who
        if self.admin or not who.member:
            return None
        known = self.parts.mappings.directory.sources
        return {name: source for name, source in known.items() if source.member == who.member}

    async def entry(self, key: str) -> Entry:
        """A message the caller may see. Raises NotFound, also for one of another member."""
        entry, own = await self.parts.inbox.messages.entry(key), self.sources()
        if entry is None or (own is not None and entry.source not in own):
            raise NotFound(f"/console/m/{key[:24]}")
        return entry

    async def outcomes(self, entries: Sequence[Entry]) -> dict[str, Outcome]:
        """What is known of each message: from the inbox for those in quarantine, else from the store."""
        done = await self.visit.parts.store.done([entry.key for entry in entries if not entry.outcome])
        found = {entry.key: outcome_of(entry.outcome or done.get(entry.key)) for entry in entries}
        return {key: outcome for key, outcome in found.items() if outcome}

    def page(self, template: str, **values: object) -> Response:
        """The console's template with its frame, as an answer."""
        return html(environment().get_template(template).render(frame=self.visit.frame, steward=self.admin, **values))


@cache
def environment() -> Environment:
    """The pages' environment with the console's templates before theirs."""
    folders = [Path(__file__).parent / "templates", render.HERE / "templates"]
    return render.environment().overlay(loader=FileSystemLoader(folders))
