"""From changes to one commit: made again when another write came first, answered again under an Idempotency-Key."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from ..errors import BadParameter, Conflict, GatewayError, KeyReused
from ..identity.workspace import Moved, Resolution, puts_of
from ..model.context import AccessContext
from ..model.pace import Pace
from ..model.rest import Answer, Call, Seen
from ..revise import puts_met
from ..security.audit import audit_row, refused_row
from ..store.base import AuditRow, Committed, Condition, Delete, Occupied, Once, PackedPut, Plan, Put, hash64
from .fhir_change import NOBODY, Aim, Change, Planner, WriteParts, criteria_of
from .fhir_reply import answer_of
from .turns import Turnstile

TRIES = 6
_MAX_KEY = 255
_ALONE = contextlib.nullcontext()
Outcome = tuple[tuple[Change, ...], Committed, bool]
"""The changes, what became of them, and True when that was an earlier request's doing."""


class _Said(msgspec.Struct):
    """What is kept of a change, so that its answer can be made again."""

    place: str
    action: str
    name: str
    created: bool
    known: bool
    existing: int


_said = msgspec.json.Decoder(list[_Said])


class Committer:
    """Plans, commits and answers. The only place of this door that writes."""

    def __init__(self, parts: WriteParts) -> None:
        self.parts, self.planner, self.turnstile = parts, Planner(parts), Turnstile()

    async def single(self, call: Call, aim: Aim) -> Answer:
        """create, update, patch, delete, $meta-add or $meta-delete."""

        async def plan() -> tuple[Change, ...]:
            return (await self.planner.plan(call, aim),)

        names = tuple(names_of(call, aim))  # most writes are new and touch nobody
        async with self.turnstile.turn(names) if names else _ALONE:
            changes, done, again = await self.settle(call, plan)
        answer = await answer_of(self.parts.store, call, changes[0], done)
        if not again and not changes[0].existing:
            return answer
        detail = "existed" if changes[0].existing else "answered again"
        return _disclosed(answer, seen_of(changes[0], detail, call.header("if-none-exist")), again)

    async def settle(self, call: Call, plan: Callable[[], Awaitable[tuple[Change, ...]]], subtype: str = "") -> Outcome:
        """Commit what `plan` gives, asked again when another write came first. Raises Conflict in the end."""
        key = _key_of(call)
        digest = await asyncio.to_thread(_digest, call) if key else b""  # a Bundle may have 100 MB
        for turn in range(TRIES):
            if key and (kept := await self._kept(key, digest)) is not None:
                return kept
            changes: tuple[Change, ...] = ()
            try:
                changes = await plan()
                if all(one.existing for one in changes):
                    return changes, _nothing(self.parts), False
                once = Once(key, digest, await asyncio.to_thread(_packed, changes)) if key else None
                whole = await self._whole(call.who, changes, subtype, once)
                return changes, await self.parts.store.commit(whole), False
            except Occupied:
                raise
            except Conflict as fault:
                if not changes and not isinstance(fault, Moved):
                    raise  # what the request itself runs into, and will again
                last = fault
            await asyncio.sleep(random.uniform(0, 0.01 * 2**turn))
        raise last

    async def _kept(self, key: int, digest: bytes) -> Outcome | None:
        kept = await self.parts.store.kept(key)
        if kept is None:
            return None
        if kept.digest != digest:
            raise KeyReused("Idempotency-Key")
        said = _said.decode(kept.said)
        changes = [
            Change(o.place, o.action, o.name, created=o.created, known=o.known, existing=o.existing) for o in said
        ]  # fmt: skip
        return tuple(changes), kept.done, True

    async def disclose(self, call: Call, seen: Seen) -> None:
        """Audit an entry of a Bundle that changed nothing: what it asked for was there already."""
        await self.parts.store.disclose(audit_row(self.parts.clock(), call.who, seen))

    async def note_refusal(self, call: Call, aim: Aim, error: GatewayError) -> None:
        """Audit an entry of a batch that was refused alone."""
        action = {"create": "C", "update": "U", "patch": "U", "delete": "D"}.get(aim.name, "E")
        seen = Seen(action, aim.name, (), (f"{aim.type}/{aim.id}",) if aim.id else ())
        await self.parts.store.disclose(refused_row(self.parts.clock(), call.who, seen, error))

    async def _whole(self, who: AccessContext, changes: tuple[Change, ...], subtype: str, once: Once | None) -> Plan:
        """One plan of all changes, with one audit row a change."""
        at, pace = self.parts.clock(), Pace()
        puts: list[Put | PackedPut] = []
        deletes: list[Delete] = []
        audits: list[AuditRow] = []
        conditions: dict[Condition, None] = {}
        resolutions: list[Resolution] = []
        for one in changes:
            if one.resolution is not NOBODY:
                puts += puts_of(one.resolution)
                resolutions.append(one.resolution)
            if one.put is not None:
                puts.append(one.put)
            deletes += one.deletes
            conditions.update(dict.fromkeys(one.conditions))
            detail = "existed" if one.existing else "known person" if one.known else subtype
            audits.append(audit_row(at, who, seen_of(one, detail)))
            await pace()
        moves = [move for one in resolutions for move in one.moves]
        own = {(one.type, one.id) for one in (*puts, *deletes)}
        met = [one for one in await puts_met(self.parts.store, moves) if (one.type, one.id) not in own]
        return Plan(
            puts=(*puts, *met),
            deletes=tuple(deletes),
            records=tuple(record for one in resolutions for record in one.records),
            moves=tuple(moves),
            unclaimed=tuple(dict.fromkeys(u for one in resolutions for u in one.unclaimed)),
            audits=tuple(audits),
            conditions=tuple(conditions),
            once=once,
            rests=tuple(dict.fromkeys(r for one in resolutions for r in one.rests)),
        )


def names_of(call: Call, aim: Aim) -> Iterable[str]:
    """Names under which interactions that touch each other take turns; a plain create touches nobody."""
    if aim.id:
        yield f"{aim.type}/{aim.id}"
    elif aim.name != "create":
        yield f"{aim.type}?{call.query}"
    if criteria := criteria_of(call, aim.type):
        yield f"{aim.type}?{criteria}"
    if key := call.header("idempotency-key"):
        yield f"key {call.who.user} {key}"


def seen_of(change: Change, detail: str = "", query: str = "") -> Seen:
    """The change as its audit row tells it."""
    return Seen(change.action, change.name, change.patients, change.places, query, detail)


def _disclosed(answer: Answer, seen: Seen, again: bool) -> Answer:
    replayed = (("idempotency-replayed", "true"),) if again else ()
    return Answer(answer.status, answer.body, (*answer.headers, *replayed), answer.media, seen)


def _key_of(call: Call) -> int:
    text = call.header("idempotency-key")
    if len(text) > _MAX_KEY:
        raise BadParameter("Idempotency-Key", f"at most {_MAX_KEY} characters", detail_zh=f"至多 {_MAX_KEY} 个字符。")
    return hash64("once", call.who.user, text) if text else 0


def _digest(call: Call) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in (call.method, call.path, call.query, call.header("if-none-exist"), call.header("if-match")):
        digest.update(part.encode() + b"\x00")
    digest.update(call.body)
    return digest.digest()


def _packed(changes: tuple[Change, ...]) -> bytes:
    return msgspec.json.encode([_Said(o.place, o.action, o.name, o.created, o.known, o.existing) for o in changes])


def _nothing(parts: WriteParts) -> Committed:
    tx, at = parts.store.horizon()
    return Committed(tx, at, ())
