"""The message exactly as it was received, for `Binary/<raw key>` and the pages' 原文 link."""

from __future__ import annotations

import msgspec

from ..inbox.queue import Inbox
from ..model.context import AccessContext
from ..model.directory import Directory
from ..model.resource import type_and_id
from ..store.base import Store
from .fhir_answers import patients_of
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

        It says all of what was made of it, so it may be read by whom every part of that may be read by, whatever
        type, label or deletion; and whose scope holds its member.
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
        made = [type_and_id(one) for one in msgspec.json.decode(outcome, type=_Outcome).resources]
        seen = await self._store.read_many(made, who)
        if len(seen) < len(made):  # what is deleted stays out of that answer, and its labels stay on it
            known = {(one.type, one.id) for one in seen}
            for one in made:
                if one not in known and await self._store.read(*one, who) is None:
                    return None
        return Original(raw.body, media_of(raw.format), patients_of(seen))
