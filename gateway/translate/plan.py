"""The rules of a map in their order, and which loops they share: what the compiler writes down line by line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .formats import Session
from .mapping import SPECIAL_TARGETS, Map, Rule

_WORD = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Planned:
    """A rule with its loop steps and the numbers of the loops it stands in (the same number = the same loop)."""

    rule: Rule
    bit: int
    chain: tuple[str, ...]
    loops: tuple[int, ...]
    words: frozenset[str]  # every text in the rule, and the $names inside conditions
    referred: Mapping[str, frozenset[str]]  # rules it names under `ref` and under `refs`


def plan_of(found: Map, session: Session) -> list[Planned]:
    """Rules with their loops: a loop number is shared by neighbours with the same outer steps."""
    out: list[Planned] = []
    count, steps, loops = 0, tuple[str, ...](), tuple[int, ...]()
    for number, rule in enumerate(found.rules):
        _check(rule, found)
        try:
            chain = session.chain(rule.each)
        except ValueError as error:
            raise rule.node.slip("each", error) from error
        shared = 0
        while shared < min(len(steps), len(chain)) and steps[shared] == chain[shared]:
            shared += 1
        fresh = tuple(range(count + 1, count + 1 + len(chain) - shared))
        count += len(fresh)
        steps, loops = chain, loops[:shared] + fresh
        named = {key: _named(rule, key) for key in ("ref", "refs")}
        out.append(Planned(rule, number, chain, loops, _texts(rule), named))
    return out


def _check(rule: Rule, found: Map) -> None:
    """Names are well spelt, and the rule does something: one without effect is a misspelt name of an inherited rule."""
    if not any(rule.node.get(key) for key in ("to", "keep", "warn", "document")):
        known = [one.name for one in found.rules if one is not rule]
        text = f"rule {rule.name!r} does nothing: it has no `to`, and no inherited rule has this name"
        raise rule.node.unknown(
            rule.name, known, text, f"规则 {rule.name!r} 不起作用：没有 `to`，继承的映射里也没有这个名字"
        )
    if not _WORD.fullmatch(rule.name):
        zh = f"规则名只用小写字母、数字和下划线，不能是 {rule.name!r}。"
        raise rule.node.error(f"a rule's name is lower-case letters, digits and _: {rule.name!r}", zh)
    if rule.to and rule.to not in SPECIAL_TARGETS and not rule.to.isalpha():
        raise rule.node.error(f"{rule.to!r} is no resource type", f"{rule.to!r} 不是 FHIR 资源类型，如 Observation。")
    if (passing := rule.node.get("in_passing")) and rule.to != "Patient":
        raise passing.error("`in_passing` is for a Patient", "in_passing 只用于 to: Patient 的规则。")
    keep = rule.node.get("keep")
    for name, node in (keep.fields() if keep else {}).items():
        if not _WORD.fullmatch(name):
            zh = f"keep 的名字只用小写字母、数字和下划线，不能是 {name!r}。"
            raise node.error(f"a kept value's name is lower-case letters, digits and _: {name!r}", zh)


def resets(plan: list[Planned]) -> dict[int, list[tuple[str, str]]]:
    """For each loop (0 = the message): local names to empty at the start of its body.

    A name lives in the innermost loop that its maker and everybody who uses it share.
    """
    out: dict[int, list[tuple[str, str]]] = {}
    kept = dict.fromkeys(name for one in plan for name in _kept_names(one.rule))
    for name in kept:
        lives = [p.loops for p in plan if name in _kept_names(p.rule) or f"${name}" in p.words]
        out.setdefault(_deepest(lives), []).append((f"kept_{name}", "''"))
    for one in plan:
        if not one.rule.to or one.rule.to in SPECIAL_TARGETS:
            continue
        name = one.rule.name
        for key, local, empty in (("ref", f"r_{name}", "b''"), ("refs", f"l_{name}", "[]")):
            users = [p.loops for p in plan if name in p.referred[key]]
            if not users:
                continue
            out.setdefault(_deepest([one.loops, *users]), []).append((local, empty))
    return out


def _deepest(paths: list[tuple[int, ...]]) -> int:
    shared = paths[0]
    for path in paths[1:]:
        while path[: len(shared)] != shared:
            shared = shared[:-1]
    return shared[-1] if shared else 0


def _kept_names(rule: Rule) -> list[str]:
    keep = rule.node.get("keep")
    return list(keep.fields()) if keep else []


def _texts(rule: Rule) -> frozenset[str]:
    words: set[str] = set()
    for node in rule.node.walk():
        if isinstance(node.value, str):
            words.add(node.value)
            words.update(re.findall(r"\$[a-z][a-z0-9_]*", node.value))
    return frozenset(words)


def _named(rule: Rule, key: str) -> frozenset[str]:
    found = (node.get(key) for node in rule.node.walk())
    values = (item.value for node in found if node is not None for item in node.items())
    return frozenset(value for value in values if isinstance(value, str))
