"""How a source record stands: whose it is, and a digest of what it says. What is made from it rests on both.

Of two records of a person that speak at once, none may be composed without the other: the Patient need not show what
the first one says, so their version alone does not tell.
"""

from __future__ import annotations

import hashlib

from .base import RecordPut, SourceRecordRow


def stand_of(record: RecordPut | SourceRecordRow) -> str:
    """Of a record as it was read, or as it is to be."""
    return stored_stand(record.patient, record.content, record.said_at, record.state)


def stored_stand(patient: str, content: bytes, said_at: str, state: str) -> str:
    """Of its columns; PostgreSQL works out the same (`0004_settle.sql`)."""
    said = hashlib.md5(f"{said_at}{state}".encode() + content, usedforsecurity=False)
    return f"{patient} {said.hexdigest()}"


def moved_stand(stand: str, old: str, new: str) -> str:
    """Of a record that went from one Patient to another; unchanged when it was not theirs."""
    return new + stand[len(old) :] if stand.startswith(f"{old} ") else stand
