"""What current versions are found by, worked out again from their bodies: after a release that indexes more.

Runs beside everything else: a version written meanwhile has its keys from the new code already.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..model.subject import subject_of
from ..validate.definitions import resource_types
from ..validate.shapes import struct
from .base import NO_TILL, fh_of
from .bodies import Codec, away_of, json_of, open_body, ordered_dates, ordered_texts
from .engine import NOTHING, Engine, Indexed, Row, Sight
from .index import extract
from .index_own import digest
from .packing import pack_keys

INDEX = 8
"""One higher with every release that keeps more, or other, keys of a resource."""
_NOTE = "index_version"
_AT_ONCE = 200
_ALL = Sight(NO_TILL - 1, None, None, -1)
_TOP = 1 << 62


def index_version() -> bytes:
    """What the keys of a version written now are made by."""
    return f"{INDEX} {digest()}".encode()


async def due(engine: Engine) -> bool:
    """Whether older rows may lack keys. An empty store begins with the version of this release."""
    known = await engine.noted(_NOTE)
    if known is None and not (await engine.moment())[0]:
        await engine.note(_NOTE, index_version())
        return False
    return known != index_version()


async def reindex(engine: Engine, codec: Codec, told: Callable[[int], None] = lambda done: None) -> int:
    """Every current version, type by type; how many. told: called with the number done so far.

    The version is noted at the end, so that one broken off is still due.
    """
    done = 0
    for type_ in sorted(resource_types()):
        after: tuple[int, int] | None = None
        while await engine.size(type_):
            rows = await engine.newest(
                type_, _ALL, match=NOTHING, between=(0, _TOP), after=after, limit=_AT_ONCE, ascending=True
            )
            whole = await engine.rows([row.rid for row in rows], _ALL) if rows else {}
            await engine.indexed([fresh(row, codec) for row in whole.values()])
            done += len(whole)
            told(done)
            if len(rows) < _AT_ONCE:
                break
            after = (rows[-1].tx, rows[-1].rid)
    await engine.note(_NOTE, index_version())
    return done


def fresh(row: Row, codec: Codec) -> Indexed:
    """What a version is found by, worked out from its body."""
    opened = open_body(row, codec)
    made = msgspec.json.decode(opened.body, type=struct(row.type))
    keys = extract(row.type, made, row.id, json_of(opened.meta))
    patient = subject_of(row.type, row.id, opened.body)
    dates, texts = ordered_dates(row.type, keys), ordered_texts(row.type, keys)
    home = row.fh if row.type == "Patient" else fh_of("Patient", patient) if patient else 0
    return Indexed(
        row.rid, row.type, tuple(set(keys.tokens)), dates, texts, keys.wordings, away_of(keys, home), pack_keys(keys),
        row.keys,
    )  # fmt: skip
