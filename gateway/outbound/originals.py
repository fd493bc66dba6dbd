"""The message exactly as it was received, for `Binary/<raw key>` and the pages' 原文 link."""

from __future__ import annotations

import msgspec

from ..inbox.queue import Inbox
from ..model.context import AccessContext
from ..model.directory import Directory
from ..store.base import Store
from .fhir_parts import Original

_MEDIA = {
    "v2": "application/hl7-v2",
    "cda": "application/xml",
    "csv": "text/csv",
    "json": "application/json",
    "dicom": "application/dicom",
    "fhir": "application/fhir+json",
}


def media_of(format_: str) -> str:
    """Media type of a kept message."""
    return _MEDIA.get(format_, "application/octet-stream")


class _Outcome(msgspec.Struct):
    resources: list[str] = []


class KeptOriginals:
    """Reads originals out of the inbox, under the caller's policy."""

    def __init__(self, inbox: Inbox, store: Store, directory: Directory) -> None:
        self._inbox, self._store, self._directory = inbox, store, directory

    async def read(self, key: str, who: AccessContext) -> Original | None:
        """The original, or None when it is not kept, not settled, or not the caller's to read.

        It may be read by whom every Patient it made may be read by, and whose scope holds its member.
        """
        raw = await self._inbox.messages.raw(key)
        if raw is None or not who.may_read("Binary"):
            return None
        member = self._directory.member_of(raw.source)
        if who.members is not None and member not in who.members:
            return None
        outcome = (await self._store.done([key])).get(key)
        if outcome is None:
            return None
        made = msgspec.json.decode(outcome, type=_Outcome).resources
        patients = [tuple(one.split("/", 1)) for one in made if one.startswith("Patient/")]
        seen = await self._store.read_many([(type_, id_) for type_, id_ in patients], who)
        if len(seen) < len(patients):
            return None
        return Original(raw.body, media_of(raw.format), tuple(one.id for one in seen))
