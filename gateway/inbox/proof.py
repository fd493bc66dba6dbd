"""New mappings into a running gateway, with proof: compile, golden cases, shadow replay, then one atomic swap.

A step that fails keeps the mappings that serve now, and says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from ..errors import GatewayError, MappingUnfit
from ..model.ids import Ids
from ..model.times import Clock
from ..translate.compare import Group, changes, grouped
from ..translate.engine import Mappings
from ..validate.structure import check_draft
from .kept import kept
from .queue import Inbox

log = logging.getLogger("gateway.mappings")
Introduce = Callable[[Mappings], Awaitable[Callable[[], None]]]
"""Writes down the members of new mappings; gives what the parts have to do once these serve."""
Golden = Callable[[Mappings], "tuple[int, list[str]]"]
"""How many golden cases there are, and the names of those that differ."""

_CASES = (
    "the result of this case differs from its expected.json; gateway map test says where",
    "这个用例的结果与 expected.json 不同，不同之处见 gateway map test；认可新结果就删去 expected.json，再加 --write。",
)
_REFUSED = ("this message is processed now and would be refused", "这条消息现在能处理，换用新映射会被拒绝。")


@dataclass(frozen=True, slots=True)
class Proof:
    """One attempt. switched: the new mappings serve. code, place, zh, en: why not, with file and line; "" when fit.

    groups: what would change in the newest kept messages; `seen` of them were tried, `touched` would change.
    """

    at: datetime
    switched: bool = False
    code: str = ""
    place: str = ""
    zh: str = ""
    en: str = ""
    golden: int = 0
    differing: tuple[str, ...] = ()
    seen: int = 0
    touched: int = 0
    groups: tuple[Group, ...] = ()

    @property
    def fit(self) -> bool:
        """True when nothing speaks against the new mappings."""
        return not self.code


async def _nobody(_: Mappings) -> Callable[[], None]:
    return lambda: None


class MappingProof:
    """Holds the mappings that serve; `attempt` tries those on disk. `last` is the newest attempt."""

    def __init__(
        self, serving: Mappings, load: Callable[[], Mappings], golden: Golden, inbox: Inbox, clock: Clock, shadow: int
    ) -> None:
        self.last: Proof | None = None
        self.tell_others: Callable[[], None] = lambda: None
        self.introduce: Introduce = _nobody
        self._serving, self._load, self._golden = serving, load, golden
        self._inbox, self._clock, self._shadow = inbox, clock, shadow
        self._one = asyncio.Lock()

    async def attempt(self, *, switch: bool, spread: bool = False) -> Proof:
        """Prove what is on disk; with `switch` let it serve from the next message on, if it is fit.

        spread: then tell the other processes of this gateway to do the same.
        """
        async with self._one:
            proof, new = await self._prove(Proof(self._clock()))
            if proof.fit and switch and new is not None:
                proof = await self._switched(proof, new)
            self.last = proof
        if spread and proof.switched:
            self.tell_others()
        if not proof.fit:
            log.warning("mappings kept: %s %s %s", proof.code, proof.place, proof.en)
        return proof

    async def _switched(self, proof: Proof, new: Mappings) -> Proof:
        """New members are made known first: what cannot be written down keeps the old ones."""
        try:
            adopt = await self.introduce(new)
        except GatewayError as fault:
            return _failed(proof, fault)
        self._serving.become(new)
        adopt()
        return replace(proof, switched=True)

    async def _prove(self, proof: Proof) -> tuple[Proof, Mappings | None]:
        try:
            new = await asyncio.to_thread(self._load)
            total, differing = await asyncio.to_thread(self._golden, new)
        except GatewayError as fault:
            return _failed(proof, fault), None
        proof = replace(proof, golden=total, differing=tuple(differing))
        if differing:
            return _failed(proof, MappingUnfit(differing[0], _CASES[0], detail_zh=_CASES[1])), None
        proof = await self._shadowed(proof, new)
        refused = next((one for one in proof.groups if one.what == "refused"), None)
        if refused:
            return _failed(proof, MappingUnfit(refused.newest, _REFUSED[0], detail_zh=_REFUSED[1])), None
        return proof, new

    async def _shadowed(self, proof: Proof, new: Mappings) -> Proof:
        """The newest kept messages through both; nothing is stored, ids lead nowhere."""
        raws = [raw async for raw in kept(self._inbox, most=self._shadow)]
        found = await asyncio.to_thread(lambda: list(changes(self._serving, new, raws, Ids(b"shadow"), check_draft)))
        touched = len({one.key for one in found})
        return replace(proof, seen=len(raws), touched=touched, groups=tuple(grouped(found)))


def _failed(proof: Proof, fault: GatewayError) -> Proof:
    return replace(proof, code=fault.code, place=fault.place, zh=fault.sentence_zh(), en=fault.sentence_en())
