"""What a resident's record holds newest of each recognition item: an older result is no more what the doctor needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..model.resource import Json
from ..model.times import CHINA
from . import reasons
from .listing import RuleItem, RuleSheet
from .match import item_of_observation
from .reasons import Reason, Verdict
from .specimen import doubt, specimens_of
from .states import states_of
from .windows import Times, times_of

_SAYS_NOTHING = frozenset({"cancelled", "no-result", "doubtful"})


@dataclass(frozen=True, slots=True)
class Newest:
    """When the newest result of each laboratory item was made, by item code; empty: nothing is known of others."""

    made: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, results: Iterable[tuple[Json, Json]], specimens: Mapping[str, Json], sheet: RuleSheet) -> Newest:
        """results: (report, one of its items), whoever made them. A spoilt specimen takes nothing back."""
        found: dict[str, datetime] = {}
        for report, observation in results:
            item = item_of_observation(observation, sheet)
            if item is None:
                continue
            taken = specimens_of(report, observation, specimens)
            made = times_of(report, observation, taken).made
            if made is None or _SAYS_NOTHING & states_of(report, observation, doubt(report, observation, taken)):
                continue
            found[item.code] = max(made, found.get(item.code, made))
        return cls(found)

    def than(self, item: RuleItem, observation: Json, times: Times) -> list[tuple[Verdict, Reason]]:
        """What it says of an older result. By collection: of one specimen reported twice neither is newer."""
        newest = self.made.get(item.code)
        if newest is None or times.made is None or newest <= times.made:
            return []
        return [(Verdict.JUDGE, reasons.NEWER.because(f"{newest.astimezone(CHINA):%m-%d %H:%M}"))]
