"""A rule sheet from its YAML file; the start is refused for anything in it that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import cast, get_args

from .listing import (
    SCOPES,
    Evidence,
    Exclusion,
    Group,
    Kind,
    Levels,
    Mark,
    RuleItem,
    RuleSheet,
    Scope,
    Start,
    When,
    Window,
    normal_name,
)
from .reasons import BY_CODE, Verdict
from .sheet import Entry, read

__all__ = ["RuleItem", "RuleSheet", "load"]

_VERDICTS = ("yes", "judge", "no")
_NEVER_YES = ("judge", "no")
_NEVER_LEFT_OUT: frozenset[When] = frozenset({"critical", "not-final", "cancelled", "no-result"})
_NEVER_UNSAID: frozenset[When] = frozenset({"doubtful"})


def load(path: Path) -> RuleSheet:
    """The sheet of `path`. Raises ConfigError with file:line: unknown or doubled keys, wrong types, unknown groups,
    items or reasons, two items under one LOINC or name, an assessment without end, a yes to what no rule covers,
    and any of the states that must exclude left out.
    """
    root = read(path)
    top = root.fields(
        ("area", "year", "title", "source", "start", "scopes", "levels", "unlisted", "outside", "unassessed"),
        ("alliances", "printed_marks", "groups", "items", "evidence", "exclusions"),
    )
    start = _start(top["start"])
    groups = _groups(top.get("groups"), start)
    items = _items(top.get("items"), groups)
    return RuleSheet(
        area=_area(top["area"]),
        year=top["year"].number(),
        title=top["title"].text(),
        source=top["source"].text(),
        start=start,
        alliances=top["alliances"].texts() if "alliances" in top else (),
        scopes=_scopes(top["scopes"]),
        levels=_levels(top["levels"]),
        unlisted=_verdict(top["unlisted"], _NEVER_YES),
        outside=_verdict(top["outside"], _NEVER_YES),
        unassessed=_verdict(top["unassessed"]),
        printed_marks=top["printed_marks"].texts() if "printed_marks" in top else (),
        groups=groups,
        items={code: item for code, (item, _) in items.items()},
        evidence=_evidence(top.get("evidence"), groups, {code: item for code, (item, _) in items.items()}),
        exclusions=_exclusions(top.get("exclusions"), groups, root),
        by_loinc=_by_loinc(items),
        by_name=_by_name(items),
    )


def _verdict(entry: Entry, choices: tuple[str, ...] = _VERDICTS) -> Verdict:
    return Verdict(entry.one_of(choices))


def _start(entry: Entry) -> Start:
    return cast(Start, entry.one_of(get_args(Start)))


def _area(entry: Entry) -> str:
    text = entry.text()
    if not text.isdigit() or len(text) != 6:
        raise entry.fault("an area is a six-digit administrative code", "area 是六位行政区划代码。")
    return text


def _scopes(entry: Entry) -> tuple[Scope, ...]:
    given = {member.one_of(SCOPES) for member in entry.list()}
    return tuple(scope for scope in SCOPES if scope in given)


def _levels(entry: Entry) -> Levels:
    got = entry.fields(("same", "lower_recognises_higher", "higher_recognises_lower", "inside_alliance"))
    return Levels(
        same=_verdict(got["same"]),
        lower_recognises_higher=_verdict(got["lower_recognises_higher"]),
        higher_recognises_lower=_verdict(got["higher_recognises_lower"]),
        inside_alliance="all" if got["inside_alliance"].one_of(("all", "by-level")) == "all" else "by-level",
    )


def _window(entry: Entry, got: Mapping[str, Entry], name: str, start: Start) -> Window:
    if ("days" in got) == ("hours" in got):
        raise entry.fault("one of days and hours is needed", "days、hours 须写且只写一个。")
    if "start" in got:
        start = _start(got["start"])
    if "days" in got:
        days = got["days"].number()
        return Window(timedelta(days=days), start, f"{name} {days} 天")
    hours = got["hours"].number()
    return Window(timedelta(hours=hours), start, f"{name} {hours} 小时")


def _groups(entry: Entry | None, start: Start) -> dict[str, Group]:
    groups = {}
    for code, value in entry.pairs() if entry else ():
        got = value.fields(("name",), ("days", "hours", "start", "specimens"))
        name = got["name"].text()
        specimens = got["specimens"].texts() if "specimens" in got else ()
        groups[code] = Group(code, name, _window(value, got, name, start), specimens)
    return groups


def _group(entry: Entry, groups: Mapping[str, Group]) -> Group:
    return groups[entry.one_of(groups)]


def _items(entry: Entry | None, groups: Mapping[str, Group]) -> dict[str, tuple[RuleItem, Entry]]:
    items: dict[str, tuple[RuleItem, Entry]] = {}
    for value in entry.list() if entry else ():
        item = _item(value, groups)
        if item.code in items:
            raise value.fault(f"item {item.code} stands here twice", f"项目 {item.code} 写了两次。")
        items[item.code] = (item, value)
    return items


def _item(entry: Entry, groups: Mapping[str, Group]) -> RuleItem:
    optional = ("loinc", "names", "days", "hours", "start", "specimens", "modality", "body_parts", "method")
    got = entry.fields(("code", "name", "kind", "group"), optional)
    group, name = _group(got["group"], groups), got["name"].text()
    kind = cast(Kind, got["kind"].one_of(get_args(Kind)))
    if kind == "lab" and got.keys() & {"modality", "body_parts", "method"}:
        raise entry.fault(
            "modality, body_parts and method belong to examinations", "检验项目没有 modality、body_parts、method。"
        )
    own = got.keys() & {"days", "hours", "start"}
    texts = {key: got[key].texts() if key in got else () for key in ("loinc", "names", "modality", "body_parts")}
    return RuleItem(
        code=got["code"].text(),
        name=name,
        kind=kind,
        group=group,
        window=_window(entry, got, name, group.window.start) if own else group.window,
        loincs=texts["loinc"],
        names=texts["names"],
        specimens=got["specimens"].texts() if "specimens" in got else group.specimens,
        modalities=texts["modality"],
        body_parts=tuple(normal_name(part) for part in texts["body_parts"]),
        method=got["method"].text() if "method" in got else "",
    )


def _by_loinc(items: Mapping[str, tuple[RuleItem, Entry]]) -> dict[str, RuleItem]:
    found: dict[str, RuleItem] = {}
    for item, entry in items.values():
        for code in item.loincs:
            if code in found:
                raise entry.fault(
                    f"LOINC {code} belongs to {found[code].code} already", f"LOINC {code} 已属 {found[code].code}。"
                )
            found[code] = item
    return found


def _by_name(items: Mapping[str, tuple[RuleItem, Entry]]) -> dict[tuple[Kind, str], RuleItem]:
    found: dict[tuple[Kind, str], RuleItem] = {}
    for item, entry in items.values():
        for name in dict.fromkeys(normal_name(name) for name in (item.name, *item.names)):
            if (item.kind, name) in found:
                owner = found[item.kind, name].code
                raise entry.fault(f"the name {name!r} belongs to {owner} already", f"名称 {name!r} 已属 {owner}。")
            found[item.kind, name] = item
    return found


def _evidence(
    entry: Entry | None, groups: Mapping[str, Group], items: Mapping[str, RuleItem]
) -> dict[tuple[str, str], Evidence]:
    found: dict[tuple[str, str], Evidence] = {}
    for value in entry.list() if entry else ():
        got = value.fields(("member",), ("groups", "items", "except", "scheme", "year", "passed", "until", "mark"))
        member, evidence = got["member"].text(), _assessment(value, got)
        for code in _covered(value, got, groups, items):
            if (member, code) in found:
                raise value.fault(f"{member} has evidence for {code} already", f"{member} 的 {code} 已有证据。")
            found[member, code] = evidence
    return found


def _assessment(entry: Entry, got: Mapping[str, Entry]) -> Evidence:
    if "passed" in got and not ("scheme" in got and "year" in got):
        raise entry.fault("an assessment needs scheme and year", "质评须写 scheme 和 year。")
    if "passed" in got and got["passed"].yes() and "until" not in got:
        raise entry.fault(
            "a passed assessment needs until, the last day whose results it covers",
            "质评合格须写 until：到哪一天为止的结果有效。",
        )
    if "passed" not in got and "mark" not in got:
        raise entry.fault("neither an assessment (passed) nor a mark", "既没有质评结论（passed），也没有标识（mark）。")
    return Evidence(
        scheme=got["scheme"].text() if "scheme" in got else "",
        year=got["year"].number() if "year" in got else 0,
        passed=got["passed"].yes() if "passed" in got else None,
        until=got["until"].day() if "until" in got else None,
        mark=_mark(got["mark"]) if "mark" in got else None,
    )


def _mark(entry: Entry) -> Mark:
    got = entry.fields(("scope",), ("areas", "text"))
    scope = cast(Scope, got["scope"].one_of(SCOPES))
    areas = got["areas"].texts() if "areas" in got else ()
    if scope != "national" and not areas:
        raise entry.fault("a mark below national needs its areas", "全国以外的标识须写 areas。")
    return Mark(scope, areas, got["text"].text() if "text" in got else "")


def _covered(
    entry: Entry, got: Mapping[str, Entry], groups: Mapping[str, Group], items: Mapping[str, RuleItem]
) -> list[str]:
    wanted = {_group(member, groups).code for member in got["groups"].list()} if "groups" in got else set()
    named = [member.one_of(items) for member in got["items"].list()] if "items" in got else []
    left_out = {member.one_of(items) for member in got["except"].list()} if "except" in got else set()
    codes = [code for code, item in items.items() if item.group.code in wanted and code not in left_out]
    if not (codes or named):
        raise entry.fault("evidence needs items or groups", "证据须写 items 或 groups。")
    return codes + named


def _exclusions(entry: Entry | None, groups: Mapping[str, Group], root: Entry) -> tuple[Exclusion, ...]:
    found = [_exclusion(value, groups) for value in (entry.list() if entry else ())]
    general = {exclusion.when for exclusion in found if not exclusion.groups and exclusion.verdict is Verdict.NO}
    if missing := sorted(_NEVER_LEFT_OUT - general):
        raise (entry or root).fault(
            f"these must exclude every item with verdict no: {', '.join(missing)}",
            f"这些状态须对所有项目判 no：{'、'.join(missing)}。",
        )
    if missing := sorted(_NEVER_UNSAID - {exclusion.when for exclusion in found if not exclusion.groups}):
        raise (entry or root).fault(
            f"these must be spoken of for every item: {', '.join(missing)}",
            f"这些状态须对所有项目写明 judge 或 no：{'、'.join(missing)}。",
        )
    return tuple(found)


def _exclusion(entry: Entry, groups: Mapping[str, Group]) -> Exclusion:
    got = entry.fields(("when", "verdict", "reason"), ("zh", "detail", "groups"))
    reason = BY_CODE[got["reason"].one_of(BY_CODE)]
    if "zh" in got:
        reason = reason.worded(got["zh"].text())
    if "detail" in got:
        reason = reason.because(got["detail"].text())
    return Exclusion(
        when=cast(When, got["when"].one_of(get_args(When))),
        verdict=_verdict(got["verdict"], _NEVER_YES),
        reason=reason,
        groups=frozenset(_group(member, groups).code for member in got["groups"].list())
        if "groups" in got
        else frozenset(),
    )
