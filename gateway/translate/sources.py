"""The directory of members, sources and alliances, from `mappings/<member>/source.yaml` and `alliances.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import partial
from typing import Literal, cast

from ..errors import MappingError
from ..model.directory import Alliance, Directory, Level, Member, Source, Term
from ..model.times import parse_offset
from .charset import known_name
from .mapping import Library
from .strict_yaml import Yaml, each, near_to
from .views import view_of

FORMATS = ("v2", "cda", "csv", "json", "dicom")
SANDBOX = "sandbox"
PROVIDES = frozenset({"visits", "labs", "imaging", "images", "medication", "documents"})
LEVELS = ("tertiary", "secondary", "primary")
MEMBER_KEYS = frozenset({"name", "short", "level", "provides", "sources"})
SOURCE_KEYS = frozenset(
    {
        "format", "title", "charset", "timezone", "control_id", "report_mode", "wait_days", "queries", "ack",
        "settings", "view",
    }
)  # fmt: skip
AE_TITLES = ("calling_ae", "called_ae")
"""Each may be several, separated by commas."""
SETTINGS = (
    "msh3",
    "msh4",
    "certificate",
    "address",
    "kind",
    "calling_hosts",
    *AE_TITLES,
)  # and kind.<name>, gather.<name> of a CSV
_TITLE = re.compile(r"[ -\[\]-~]{1,16}")
_ALLIANCE_KEYS = frozenset({"name", "lead", "members", "contains", "since", "until"})
_JOINED = frozenset({"member", "since", "until"})


def directory(library: Library) -> Directory:
    """Everybody in the folders, and the built-in source `sandbox` that takes every format."""
    members: dict[str, Member] = {}
    sources = {SANDBOX: Source(SANDBOX, SANDBOX, "any", title="试用")}
    for key in library.members():
        node = library.yaml(f"{key}/source.yaml")
        members[key] = _member(key, node)
        for name, source in each(node.get("sources"), partial(_source, key)).items():
            given = node.fields()["sources"].fields()[name]
            if name in sources:
                other = sources[name].member
                zh = f"来源 {name!r} 定义了两次，已属于 {other}；来源名在全部成员中只能用一次。"
                raise given.error(f"the source {name!r} is defined twice, by {other} too", zh)
            _check_sender(source, sources.values(), (given.get("settings") or given).place)
            sources[name] = source
    return Directory(members, sources, _alliances(library, members))


def _check_sender(source: Source, others: Iterable[Source], place: str) -> None:
    """Two sources with one MSH-3 and MSH-4 would file one hospital's messages under another."""
    if source.format == "dicom":
        _check_caller(source, others, place)
    sender = (source.settings.get("msh3", ""), source.settings.get("msh4", ""))
    if source.format != "v2" or sender == ("", ""):
        return
    for other in others:
        if other.format == "v2" and (other.settings.get("msh3", ""), other.settings.get("msh4", "")) == sender:
            both = "/".join(sender)
            zh = f"{source.name} 与 {other.name} 的 msh3、msh4 相同（{both}）：分不清是谁发的，请改一个。"
            text = f"{source.name} and {other.name} have the same msh3 and msh4, {both}"
            raise MappingError(place, text, detail_zh=zh)


def _check_caller(source: Source, others: Iterable[Source], place: str) -> None:
    """As above, of AE titles; one source may take whoever calls a title that another takes named callers of."""
    pairs = _calls(source)
    for other in others:
        if other.format == "dicom" and (same := pairs & _calls(other)):
            called, calling = min(same)
            both_zh = f"主叫 {calling or '任意'}，被叫 {called or '默认'}"
            zh = f"{source.name} 与 {other.name} 的 AE Title 相同（{both_zh}）：请改一个。"
            text = f"{source.name} and {other.name} are both called {called or 'as all are'} by {calling or 'anybody'}"
            raise MappingError(place, text, detail_zh=zh)


def _calls(source: Source) -> set[tuple[str, str]]:
    called, calling = (titles(source.settings.get(key, "")) for key in ("called_ae", "calling_ae"))
    return {(one, other) for one in called or ("",) for other in calling or ("",)} if called or calling else set()


def is_title(text: str) -> bool:
    """True for what can be an AE title. Source: DICOM PS3.5 §6.2, AE."""
    return bool(_TITLE.fullmatch(text)) and text.strip() == text


def titles(text: str) -> tuple[str, ...]:
    """The AE titles of a setting: several are separated by commas."""
    return tuple(filter(None, (one.strip() for one in text.split(","))))


def _choice(node: Yaml, key: str, allowed: tuple[str, ...], default: str) -> str:
    found = node.word(key, default)
    if found not in allowed:
        where = node.get(key) or node
        near, near_zh = near_to(found, allowed)
        text = f"{key} is {found!r}{near or ';'} it must be one of {', '.join(allowed)}"
        raise where.error(text, f"{key} 写的是 {found!r}{near_zh or '；'}只能是 {'、'.join(allowed)}。")
    return found


def _member(key: str, node: Yaml) -> Member:
    node.fields(MEMBER_KEYS)
    provides = frozenset(node.words("provides"))
    if provides - PROVIDES:
        unknown, known = min(provides - PROVIDES), "、".join(sorted(PROVIDES))
        near, near_zh = near_to(unknown, PROVIDES)
        zh = f"provides 没有 {unknown!r}{near_zh or '；'}可用：{known}。"
        raise node.fields()["provides"].error(f"unknown in provides: {unknown!r}{near}", zh)
    name = node.word("name")
    if not name:
        raise node.error("a member needs a name", "缺 name：写成员单位的名称。")
    level = cast(Level, _choice(node, "level", LEVELS, ""))
    return Member(key, name, level, node.word("short") or name, provides)


def _source(member: str, name: str, node: Yaml) -> Source:
    node.fields(SOURCE_KEYS)
    if node.word("format") == "fhir":
        zh = "FHIR 不经映射，不写来源：用写明 member、有写权限的令牌直接写入 /fhir，见平台手册。"
        raise node.fields()["format"].error("FHIR needs no source: write to /fhir with a token of the member", zh)
    zone, charset = node.word("timezone", "+08:00"), node.word("charset", "auto")
    try:
        parse_offset(zone)
    except ValueError as error:
        where = node.get("timezone") or node
        raise where.error(str(error), f"timezone 写的是 {zone!r}，应写成 +08:00 这样。") from error
    if charset != "auto" and not known_name(charset):
        raise (node.get("charset") or node).error(
            f"unknown charset {charset!r}", f"不认识字符集 {charset!r}，请写 auto、utf-8 或 gb18030。"
        )
    return Source(
        name=name,
        member=member,
        format=_choice(node, "format", FORMATS, ""),
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
        settings=each(node.get("settings"), _setting),
        view=view_of(node.get("view"), node.word("format")),
    )


def _setting(key: str, value: Yaml) -> str:
    """Any key may stand there; one that only looks like a known one is a slip, whose value nobody would read."""
    near, near_zh = near_to(key.lower(), SETTINGS)
    if key not in SETTINGS and near and "." not in key:
        raise value.error(f"unknown setting {key!r}{near}", f"没有设置 {key!r}{near_zh}")
    wrong = [one for one in titles(value.text()) if not is_title(one)] if key in AE_TITLES else []
    if wrong:
        zh = f"AE Title {wrong[0]!r} 应是 1 到 16 个 ASCII 字符，不含反斜杠。"
        raise value.error(f"{wrong[0]!r} is no AE title: 1 to 16 characters of ASCII, no backslash", zh)
    return value.text()


def _days(node: Yaml) -> int:
    found = node.word("wait_days", "7")
    if not (found.isdecimal() and len(found) < 5):
        zh = f"wait_days 写的是 {found!r}，应是天数，如 7。"
        raise (node.get("wait_days") or node).error(f"wait_days is {found!r}; it must be a number of days", zh)
    return int(found)


def _alliances(library: Library, members: dict[str, Member]) -> dict[str, Alliance]:
    if library.find("alliances.yaml") is None:
        return {}
    node = library.yaml("alliances.yaml")
    written = node.fields(frozenset({"alliances"})).get("alliances")
    found = each(written, _alliance)
    for key, one in written.fields().items() if written else ():
        _check_names(key, one, "lead", members, "member", "成员")
        _check_names(key, one, "members", members, "member", "成员")
        _check_names(key, one, "contains", found, "alliance", "联盟")
    return found


def _check_names(alliance: str, node: Yaml, key: str, known: Iterable[str], what: str, what_zh: str) -> None:
    """A slip here would hide a member's results from everybody, in silence."""
    listed = node.get(key)
    for entry in listed.items() if listed else ():
        one = _named(entry)
        if one.text() not in known:
            text = f"{alliance}.{key}: there is no {what} {one.text()!r}"
            raise one.unknown(one.text(), known, text, f"{alliance} 的 {key}：没有{what_zh} {one.text()!r}")


def _alliance(key: str, node: Yaml) -> Alliance:
    node.fields(_ALLIANCE_KEYS)
    listed = node.get("members")
    joined = {_named(one).text(): _term(one) for one in (listed.items() if listed else ())}
    return Alliance(
        key=key,
        name=node.word("name", key),
        lead=node.word("lead"),
        members=frozenset(joined),
        contains=frozenset(node.words("contains")),
        term=_term(node),
        terms={member: term for member, term in joined.items() if term != Term()},
    )


def _named(entry: Yaml) -> Yaml:
    """A member by its key, or `{member: key, since: 2026-01-01, until: 2026-12-31}`."""
    if isinstance(entry.value, str):
        return entry
    return entry.fields(_JOINED).get("member") or entry


def _term(node: Yaml) -> Term:
    """Its first and last day, where it says them. Raises MappingError."""
    if isinstance(node.value, str):
        return Term()
    term = Term(_day(node, "since"), _day(node, "until"))
    if term.since and term.until and term.until < term.since:
        raise node.error("until lies before since", "until 早于 since。")
    return term


def _day(node: Yaml, key: str) -> date | None:
    found = node.get(key)
    if found is None:
        return None
    try:
        return date.fromisoformat(found.text())
    except ValueError:
        zh = f"{key} 写的是 {found.text()!r}，应是日期，如 2026-12-31。"
        raise found.error(f"{key} is {found.text()!r}; it must be a date YYYY-MM-DD", zh) from None
