"""What several doors share, made once by `app.py`, and how each door's own parts are cut from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx
from starlette.requests import Request

from . import __version__
from .errors import ConfigError
from .identity.index import PersonIndex
from .identity.search import Found, PersonSearch
from .identity.steward import Steward
from .inbound.fhir_write import FhirWrite, WriteParts
from .inbound.preparer import Preparer
from .inbox.proof import MappingProof
from .inbox.queue import Inbox
from .model.context import AccessContext
from .model.directory import Directory
from .model.ids import Ids
from .model.ranges import DeclaredRanges
from .model.times import Clock
from .outbound.console.parts import ConsoleParts
from .outbound.dicom_web import DicomWebParts, Pacs, PacsSettings
from .outbound.drug_classes import DrugClasses
from .outbound.drug_classes import load as load_classes
from .outbound.fhir_parts import FhirParts
from .outbound.fhir_routes import FhirDoor
from .outbound.fhir_search import finder
from .outbound.metrics import MetricsParts
from .outbound.operations.everything import EVERYTHING
from .outbound.operations.lastn import LASTN
from .outbound.operations.meta import META
from .outbound.operations.recognition import recognition_operations
from .outbound.operations.validate import VALIDATE
from .outbound.originals import KeptOriginals
from .outbound.pages.parts import PageParts
from .outbound.readers import Readers
from .outbound.recognition import Judge
from .recognise.rules import RuleSheet
from .recognise.rules import load as load_rules
from .revise import puts_met
from .security.access import Access
from .security.associations import Associations
from .security.certificates import Certificates
from .security.cors import Cors
from .security.seal import Seal
from .security.times import RequestTimes
from .settings import Settings
from .shipped import shipped
from .store.base import Store
from .store.index import params
from .translate.engine import Mappings
from .validate.definitions import resource_types

Caller = Callable[[Request], Awaitable[AccessContext]]


@dataclass(frozen=True, slots=True)
class Shared:
    """Everything more than one door needs. worker: number of this process among those of the house."""

    settings: Settings
    clock: Clock
    store: Store
    inbox: Inbox
    access: Access
    directory: Directory
    people: PersonIndex
    ids: Ids
    sheet: RuleSheet
    ranges: DeclaredRanges
    classes: DrugClasses
    pacs: Pacs
    preparer: Preparer
    readers: Readers | None
    times: RequestTimes
    associations: Associations
    worker: int
    certificates: Certificates

    @property
    def judge(self) -> Judge:
        """Verdicts and alerts for one caller."""
        return Judge(self.store, self.directory, self.sheet, self.classes, self.pacs)

    @property
    def originals(self) -> KeptOriginals:
        """Messages as they were received."""
        return KeptOriginals(self.inbox, self.store, self.directory)

    def fhir(self) -> FhirParts:
        """The FHIR door's parts, reading and writing."""
        reading = FhirParts(
            store=self.store,
            access=self.access,
            clock=self.clock,
            lookup=params,
            types=resource_types(),
            version=__version__,
            operations=(*EVERYTHING, LASTN, *META, VALIDATE, *recognition_operations(self.judge)),
            originals=self.originals.read,
            many_deletes=self.settings.fhir.conditional_delete > 1,
            cors=Cors.of(self.settings.http.cors_origins),
            search=self.readers.search if self.readers is not None else None,
        )
        door = FhirDoor(reading)
        writing = WriteParts(
            store=self.store,
            people=self.people,
            clock=self.clock,
            types=resource_types(),
            find=finder(reading),
            run=door.run,
            preparer=self.preparer,
            resource_bytes=self.settings.limits.body_mb * 2**20,
            deletes=self.settings.fhir.conditional_delete,
        )
        return replace(reading, write=FhirWrite(writing))

    def pages(self) -> PageParts:
        """The doctor pages' parts."""
        return PageParts(
            store=self.store,
            directory=self.directory,
            access=self.access,
            clock=self.clock,
            find=self._find,
            sheet=self.sheet,
            ranges=self.ranges,
            drug_classes=self.classes,
            pacs=self.pacs,
            original=self.originals.read,
            seal=Seal(self.store.store_key, "pages"),
        )

    def console(self, mappings: Mappings, proof: MappingProof) -> ConsoleParts:
        """The vendor console's parts."""
        steward = Steward(self.people, self.store, partial(puts_met, self.store))
        return ConsoleParts(self.pages(), self.inbox, mappings, shipped("fixtures"), steward, proof, self.associations)

    def dicom_web(self, caller: Caller) -> DicomWebParts:
        """The image proxy's parts."""
        return DicomWebParts(self.store, self.pacs, self.clock, caller)

    def metrics(self, caller: Caller) -> MetricsParts:
        """The parts of `/metrics`."""
        return MetricsParts(
            self.store, self.inbox, self.directory, self.clock, self.times, self.associations, self.certificates,
            caller, __version__, self.worker,
        )  # fmt: skip

    async def failing_views(self) -> int:
        """How many sources' views cannot be read now."""
        views = {name for name, one in self.directory.sources.items() if one.view is not None}
        readings = await self.inbox.messages.positions.readings()
        return sum(one.fault is not None for name, one in readings.items() if name in views)

    async def _find(self, text: str, who: AccessContext) -> Found:
        return await PersonSearch(self.store, self.directory, self.clock).find(text, who)

    async def close(self) -> None:
        """Close files and connections."""
        await self.pacs.client.aclose()
        await self.preparer.close()
        if self.readers is not None:
            await self.readers.close()
        await self.inbox.close()
        await self.store.close()
        self.access.close()


def pacs_of(directory: Directory, clock: Clock) -> Pacs:
    """The client for the members' picture archives; only addresses in the mappings or settings are allowed."""
    client = httpx.AsyncClient(follow_redirects=False, trust_env=False, limits=httpx.Limits(max_connections=32))
    return Pacs(PacsSettings(allowed=addresses_of(directory)), client, clock)


def addresses_of(directory: Directory) -> tuple[str, ...]:
    """Base addresses of the members' picture archives."""
    return tuple(s.settings["address"] for s in directory.sources.values() if s.settings.get("address"))


def rule_sheet(folders: list[Path], name: str) -> RuleSheet:
    """The recognition sheet of that name, from the first folder that has it. Raises ConfigError."""
    for folder in folders:
        path = folder / "recognition" / f"{name}.yaml"
        if path.is_file():
            return load_rules(path)
    raise ConfigError("gateway.rules", f"no recognition sheet {name!r}", detail_zh=f"没有互认规则表 {name!r}。")


def drug_classes(folders: list[Path]) -> DrugClasses:
    """The drug classes, from the first folder that has them. Raises ConfigError."""
    for folder in folders:
        path = folder / "codesystem" / "drug-classes.csv"
        if path.is_file():
            return load_classes(path)
    raise ConfigError(
        "gateway.profiles", "codesystem/drug-classes.csv is missing", detail_zh="缺少 codesystem/drug-classes.csv。"
    )
