"""What a change of mappings would change: the same kept messages through the old and the new, element by element."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import GatewayError
from ..model.ids import Ids
from ..model.message import Draft, RawMessage
from ..model.resource import Json, dumps, loads
from .engine import Mappings
from .senders import sender_of

Check = Callable[[Draft], None]
What = Literal["added", "removed", "changed", "refused", "accepted"]


@dataclass(frozen=True, slots=True)
class Change:
    """One element of one resource that one message would make otherwise.

    element: a top-level element, "" for a whole resource or message. before, after: JSON, "" for nothing;
    for `refused` and `accepted` the GW code and the place instead.
    """

    key: str
    source: str
    kind: str
    what: What
    resource: str
    element: str = ""
    before: str = ""
    after: str = ""

    def shown(self) -> str:
        """For a person: what and where, then the values below each other."""
        values = [f"\n  {sign} {text}" for sign, text in (("-", self.before), ("+", self.after)) if text]
        return f"{self.key}  {self.what:<8} {self.resource} {self.element}".strip() + "".join(values)


@dataclass(frozen=True, slots=True)
class Group:
    """Like changes of many messages: of one source, one kind, one element. `newest`: the first message seen with it."""

    source: str
    kind: str
    what: What
    element: str
    count: int
    messages: int
    newest: str


def changes(old: Mappings, new: Mappings, raws: Iterable[RawMessage], ids: Ids, check: Check) -> Iterator[Change]:
    """All changes, message by message. Provenance is left out: it names the mapping's version.

    check: what is asked of a draft before it is stored; one that does not pass is refused as one not translated.
    """
    for raw in raws:
        before, after = _made(old, raw, ids, check), _made(new, raw, ids, check)
        if isinstance(before, GatewayError) and isinstance(after, GatewayError):
            continue
        if isinstance(after, GatewayError):
            kind = before.kind if isinstance(before, Draft) else ""
            yield Change(raw.key, raw.source, kind, "refused", "", after=f"{after.code} {after.place}".strip())
        elif isinstance(before, GatewayError):
            yield Change(
                raw.key, raw.source, after.kind, "accepted", "", before=f"{before.code} {before.place}".strip()
            )
        else:
            yield from _between(raw, before, after)


def _made(mappings: Mappings, raw: RawMessage, ids: Ids, check: Check) -> Draft | GatewayError:
    try:
        draft = mappings.translate(raw, sender_of(raw, mappings.directory), ids, raw.received_at)
        check(draft)
        return draft
    except GatewayError as fault:
        return fault
    except Exception:  # what breaks the gateway itself is quarantined by the inbox, and must not stop the others here
        return GatewayError()


def _between(raw: RawMessage, before: Draft, after: Draft) -> Iterator[Change]:
    return between(resources_of(before), resources_of(after), Change(raw.key, raw.source, after.kind, "changed", ""))


def between(old: Mapping[str, Json], new: Mapping[str, Json], about: Change) -> Iterator[Change]:
    """What differs between two sets of resources. about: says of which message in all of them."""
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if one == other:
            continue
        if one is None or other is None:
            yield replace(about, what="added" if one is None else "removed", resource=name)
            continue
        for element in sorted(one.keys() | other.keys()):
            if one.get(element) != other.get(element):
                yield _element(replace(about, resource=name, element=element), one, other)


def _element(about: Change, one: Json, other: Json) -> Change:
    element = about.element
    what: What = "changed" if element in one and element in other else "added" if element in other else "removed"
    before, after = (dumps(body[element]).decode() if element in body else "" for body in (one, other))
    return replace(about, what=what, before=before, after=after)


def resources_of(draft: Draft) -> dict[str, Json]:
    """What a message makes, by `type/id`, its source records by `Patient/@number`; without Provenance."""
    people: dict[str, Json] = {f"Patient/@{number}": one.patient for number, one in enumerate(draft.records)}
    made = {f"{one.type}/{one.id}": loads(one.body) for one in draft.resources if one.type != "Provenance"}
    return people | made


def grouped(found: Iterable[Change]) -> list[Group]:
    """Changes counted by source, kind, element and what became of it; refusals first, then the most frequent."""
    by: dict[tuple[str, str, What, str], list[str]] = {}
    for one in found:
        element = ".".join(filter(None, (one.resource.partition("/")[0], one.element)))
        by.setdefault((one.source, one.kind, one.what, element), []).append(one.key)
    groups = [Group(*key, len(keys), len(set(keys)), keys[0]) for key, keys in by.items()]
    return sorted(groups, key=lambda one: (one.what != "refused", -one.count, one.source, one.element))
