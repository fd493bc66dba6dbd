"""Kept messages as they came, newest first: what mappings are tried on."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..model.message import RawMessage
from .queue import Inbox


async def kept(inbox: Inbox, source: str = "", most: int = 1 << 62) -> AsyncIterator[RawMessage]:
    """Messages of known senders whose bytes are still held, at most so many; of one source, or of all."""
    before, given = "", 0
    while entries := await inbox.messages.entries(source=source, before=before, limit=min(500, most)):
        before = entries[-1].key
        for entry in entries:
            raw = await inbox.messages.raw(entry.key)
            if raw is None or not raw.source:
                continue
            yield raw
            given += 1
            if given >= most:
                return
