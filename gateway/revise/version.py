"""What revising gives: versions to write, in order. Two of one id mean history first, current on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..model.message import DraftResource
from ..model.outcome import Finding
from ..model.resource import Json, dumps, reference_id
from ..store.base import Resource

_SERVER_META = ("versionId", "lastUpdated")


@dataclass(frozen=True, slots=True)
class Version:
    """One version to put. `body` has resourceType, neither id nor meta.

    meta: None = that of the message being processed; else what the version carries on from the stored one.
    """

    type: str
    id: str
    body: Json
    meta: Json | None = None

    @property
    def ref(self) -> str:
        """`Observation/abc`."""
        return f"{self.type}/{self.id}"

    @property
    def bytes(self) -> bytes:
        """The body as stored."""
        return dumps(self.body)


class Step(NamedTuple):
    """One put of the plan: `meta` goes over the members the message gives.

    src, patient, member: the source record it came from, the Patient it is about, the member it is of, where these are
    others than its draft's; 0, "" = the draft's.
    """

    resource: DraftResource
    expect: int | None
    meta: Json
    src: int = 0
    patient: str = ""
    member: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """`versions` replace the draft's resources, in this order; `findings` say what was not taken as sent."""

    versions: tuple[Version, ...]
    findings: tuple[Finding, ...] = ()


def again(row: Resource, body: Json, whole: Json, patient: str) -> Step:
    """A stored version written again: still its own record's and member's, under its own meta.

    body: without id and meta. whole: the stored resource. patient: whom it is about once the plan is done.
    """
    draft = DraftResource(row.type, row.id, dumps({"resourceType": row.type, "id": row.id} | body))
    return Step(draft, row.version, kept(whole).meta or {}, row.src, patient, row.member)


def ref_of(body: Json) -> str:
    """`Type/id` of a whole resource."""
    return f"{body['resourceType']}/{body['id']}"


def sent(body: Json) -> Version:
    """The version a message asks for."""
    return Version(body["resourceType"], body["id"], bare(body))


def kept(body: Json, **changes: object) -> Version:
    """A stored version written again, with changed elements (None drops one), under its own meta."""
    meta = {key: value for key, value in body.get("meta", {}).items() if key not in _SERVER_META}
    changed = {key: value for key, value in {**bare(body), **changes}.items() if value is not None}
    return Version(body["resourceType"], body["id"], changed, meta)


def bare(body: Json) -> Json:
    """The resource without id and meta."""
    return {key: value for key, value in body.items() if key not in ("id", "meta")}


def references(values: Iterable[Json], of_type: str) -> list[str]:
    """`Type/id` of the references to one type, in order."""
    found = [reference_id(value, of_type) for value in values]
    return [f"{of_type}/{one}" for one in found if one]


def by_ref(bodies: Iterable[Json]) -> dict[str, Json]:
    """Whole resources by `Type/id`."""
    return {ref_of(body): body for body in bodies}


History = Mapping[str, tuple[Json, ...]]
"""All stored versions by `Type/id`, so that a replayed older one is known."""
