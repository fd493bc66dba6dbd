"""The directory of members, sources and alliances, from `mappings/<member>/source.yaml` and `alliances.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Literal, cast

from ..errors import MappingError
from ..model.directory import Alliance, Directory, Level, Member, Source
from ..model.times import parse_offset
from .charset import known_name
from .mapping import Library
from .strict_yaml import Yaml, each, near_to

FORMATS = ("v2", "cda", "csv", "json", "dicom")
SANDBOX = "sandbox"
PROVIDES = frozenset({"visits", "labs", "imaging", "images", "medication", "documents"})
LEVELS = ("tertiary", "secondary", "primary")
MEMBER_KEYS = frozenset({"name", "short", "level", "provides", "sources"})
SOURCE_KEYS = frozenset(
    {"format", "title", "charset", "timezone", "control_id", "report_mode", "wait_days", "queries", "ack", "settings"}
)
_ALLIANCE_KEYS = frozenset({"name", "lead", "members", "contains"})


def directory(library: Library) -> Directory:
    """Everybody in the folders, and the built-in source `sandbox` that takes every format."""
    members: dict[str, Member] = {}
    sources = {SANDBOX: Source(SANDBOX, SANDBOX, "any", title="试用")}
    for key in library.members():
        node = library.yaml(f"{key}/source.yaml")
        members[key] = _member(key, node)
        for name, source in each(node.get("sources"), partial(_source, key)).items():
            if name in sources:
                raise MappingError(node.place, f"the source {name!r} is defined twice")
            _check_sender(source, sources.values(), node.place)
            sources[name] = source
    return Directory(members, sources, _alliances(library, members))


def _check_sender(source: Source, others: Iterable[Source], place: str) -> None:
    """Two sources with one MSH-3 and MSH-4 would file one hospital's messages under another."""
    sender = (source.settings.get("msh3", ""), source.settings.get("msh4", ""))
    if source.format != "v2" or sender == ("", ""):
        return
    for other in others:
        if other.format == "v2" and (other.settings.get("msh3", ""), other.settings.get("msh4", "")) == sender:
            raise MappingError(place, f"{source.name} and {other.name} have the same msh3 and msh4 {sender}")


def _choice(node: Yaml, key: str, allowed: tuple[str, ...], default: str) -> str:
    found = node.word(key, default)
    if found not in allowed:
        where = node.get(key) or node
        near, near_zh = near_to(found, allowed)
        text = f"{key} is {found!r}{near}; it must be one of {', '.join(allowed)}"
        raise where.error(text, f"{key} 写的是 {found!r}{near_zh}；只能是 {'、'.join(allowed)}。")
    return found


def _member(key: str, node: Yaml) -> Member:
    node.fields(MEMBER_KEYS)
    provides = frozenset(node.words("provides"))
    if provides - PROVIDES:
        raise node.error(f"unknown in provides: {', '.join(sorted(provides - PROVIDES))}")
    name = node.word("name")
    if not name:
        raise node.error("a member needs a name")
    level = cast(Level, _choice(node, "level", LEVELS, ""))
    return Member(key, name, level, node.word("short") or name, provides)


def _source(member: str, name: str, node: Yaml) -> Source:
    node.fields(SOURCE_KEYS)
    zone, charset = node.word("timezone", "+08:00"), node.word("charset", "auto")
    try:
        parse_offset(zone)
    except ValueError as error:
        raise node.error(str(error)) from error
    if charset != "auto" and not known_name(charset):
        raise node.error(f"unknown charset {charset!r}")
    return Source(
        name=name,
        member=member,
        format=_choice(node, "format", (*FORMATS, "fhir"), ""),
        title=node.word("title"),
        charset=charset,
        timezone=zone,
        control_id=cast(
            Literal["trusted", "untrusted"], _choice(node, "control_id", ("trusted", "untrusted"), "trusted")
        ),
        report_mode=cast(Literal["snapshot", "delta"], _choice(node, "report_mode", ("snapshot", "delta"), "snapshot")),
        wait_days=_days(node),
        queries=cast(Literal["none", "own", "alliance"], _choice(node, "queries", ("none", "own", "alliance"), "none")),
        ack=cast(
            Literal["stored", "processed", "always_aa"],
            _choice(node, "ack", ("stored", "processed", "always_aa"), "stored"),
        ),
        settings=each(node.get("settings"), lambda _, value: value.text()),
    )


def _days(node: Yaml) -> int:
    found = node.word("wait_days", "7")
    if not (found.isdecimal() and len(found) < 5):
        raise (node.get("wait_days") or node).error(f"wait_days is {found!r}; it must be a number of days")
    return int(found)


def _alliances(library: Library, members: dict[str, Member]) -> dict[str, Alliance]:
    if library.find("alliances.yaml") is None:
        return {}
    node = library.yaml("alliances.yaml")
    found = each(node.fields(frozenset({"alliances"})).get("alliances"), _alliance)
    for alliance in found.values():
        unknown = alliance.contains - found.keys()
        if unknown:
            raise node.error(f"{alliance.key} contains unknown alliances: {', '.join(sorted(unknown))}")
    return found


def _alliance(key: str, node: Yaml) -> Alliance:
    node.fields(_ALLIANCE_KEYS)
    members = frozenset(node.words("members"))
    return Alliance(key, node.word("name", key), node.word("lead"), members, frozenset(node.words("contains")))
