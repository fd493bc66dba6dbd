"""What the pages are joined from; `app.py` fills it once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...identity.search import Found
from ...model.context import AccessContext
from ...model.directory import Directory
from ...model.ranges import DeclaredRanges
from ...model.times import Clock
from ...recognise.rules import RuleSheet
from ...security.access import Access
from ...security.seal import Seal
from ...store.base import Store
from ..alerts import DrugClasses
from ..dicom_web import Pacs
from ..fhir_parts import Originals
from .moments import When

Finder = Callable[[str, AccessContext], Awaitable[Found]]
"""Person search as the doctor typed it."""


@dataclass(frozen=True, slots=True)
class PageParts:
    """seal: closes a search into the address of its result page, so that no card number stands in a URL."""

    store: Store
    directory: Directory
    access: Access
    clock: Clock
    find: Finder
    sheet: RuleSheet
    ranges: DeclaredRanges
    drug_classes: DrugClasses
    pacs: Pacs
    original: Originals
    seal: Seal


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page says around its content. doctor "" = nobody is signed in; home: where its own pages start."""

    now: When
    doctor: str = ""
    member: str = ""
    alliance: str = ""
    purpose: str = ""
    until: str = ""
    csrf: str = ""
    search_box: bool = True
    home: str = "/ui/"
