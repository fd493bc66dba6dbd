"""Who of the people of one message may be meant: by birth date or card number, whatever their number.

A file of an old system brings thousands of people nobody knew; each of them could be any of those before.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import date

from .person import Record, verdicts


class Known:
    """Patient ids by what records said of them, now or before: to be looked at, for one may say otherwise by now."""

    def __init__(self, today: date) -> None:
        self._today = today
        self._ids: dict[str, set[str]] = {}

    def add(self, patient_id: str, record: Record) -> None:
        """What a record says that may be asked for."""
        cards = verdicts(record.content, self._today)
        for word in (
            str(record.content.get("birthDate", "")),
            *(verdict.value18 or one["value"] for one, verdict in cards),
        ):
            self._ids.setdefault(word, set()).add(patient_id)

    def of(self, word: str) -> Set[str]:
        """Those of whom a record said this."""
        return self._ids.get(word, frozenset())
