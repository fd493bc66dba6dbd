"""One person's resources, parsed once, with typed access: what pages, alerts and operations read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ..model.directory import Directory
from ..model.resource import Json
from ..store.base import Resource


@dataclass(frozen=True, slots=True)
class Record:
    """All of one resident.

    every: all resources by type, in the order given (also entered-in-error and replaced ones).
    by_ref: the same by `Type/id`. arrived: when the present version reached the gateway, by `Type/id`.
    The properties give current ones: not entered-in-error, not cancelled orders, not superseded documents.
    """

    every: Mapping[str, tuple[Json, ...]]
    by_ref: Mapping[str, Json]
    arrived: Mapping[str, datetime]

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Record:
        """From what `Store.everything` gave; deleted ones are left out."""
        raise NotImplementedError

    @property
    def patient(self) -> Json:
        """The Patient; {} when the record has none."""
        raise NotImplementedError

    # observations reports studies encounters medications allergies conditions documents compositions
    # requests specimens tasks endpoints: tuple[Json, ...]

    def get(self, reference: object) -> Json | None:
        """The resource a FHIR Reference (or "Type/id") points to, None when it is not in this record."""
        raise NotImplementedError

    def items_of(self, report: Json) -> tuple[Json, ...]:
        """Current Observations of a report, in the report's order."""
        raise NotImplementedError

    def studies_of(self, report: Json) -> tuple[Json, ...]:
        """ImagingStudies of a report."""
        raise NotImplementedError

    def report_of(self, observation: Json) -> Json | None:
        """The current report that lists this Observation in `result`."""
        raise NotImplementedError


def member_of(resource: Json, directory: Directory) -> str:
    """Member key of the source that said so (`meta.source`); "" for what a client created."""
    raise NotImplementedError
