"""What a resident's record holds newest of each recognition item: an older result is no more what the doctor needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..model.resource import Json
from ..model.times import CHINA
from . import reasons
from .listing import RuleItem, RuleSheet
from .match import item_of_observation
from .reasons import Reason, Verdict
from .specimen import doubt, specimens_of
from .states import states_of
from .windows import SLACK, Times, times_of

_TICK = timedelta(microseconds=1)
_SAYS_NOTHING = frozenset({"cancelled", "no-result", "doubtful"})


@dataclass(frozen=True, slots=True)
class Newest:
    """When the newest result of each laboratory item was made, by item code; empty: nothing is known of others."""

    made: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        results: Iterable[tuple[Json, Json]],
        specimens: Mapping[str, Json],
        sheet: RuleSheet,
        at: datetime,
    ) -> Newest:
        """As known at an instant. results: (report, one of its items), whoever made them.

        A spoilt specimen takes nothing back, nor does a time that stands for none.
        """
        found: dict[str, datetime] = {}
        for report, observation in results:
            item = item_of_observation(observation, sheet)
            if item is None:
                continue
            taken = specimens_of(report, observation, specimens)
            made = times_of(report, observation, taken).made
            # What may still hold was collected within two windows at most: nothing older is newer than it.
            if made is None or made - at > SLACK or at - made > 2 * item.window.length:
                continue
            if made > found.get(item.code, made - _TICK) and _speaks(report, observation, taken):
                found[item.code] = made
        return cls(found)

    def than(self, item: RuleItem, observation: Json, times: Times) -> list[tuple[Verdict, Reason]]:
        """What it says of an older result. By collection: of one specimen reported twice neither is newer."""
        newest = self.made.get(item.code)
        if newest is None or times.made is None or newest <= times.made:
            return []
        return [(Verdict.JUDGE, reasons.NEWER.because(f"{newest.astimezone(CHINA):%m-%d %H:%M}"))]


def _speaks(report: Json, observation: Json, taken: tuple[Json, ...]) -> bool:
    return not _SAYS_NOTHING & states_of(report, observation, doubt(report, observation, taken))
