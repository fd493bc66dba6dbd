"""Whoever maps, sends or operates reads what is wrong in Chinese: no reason may be given in English alone."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import errors
from gateway.translate import engine

ROOT = Path(__file__).resolve().parents[2] / "gateway"
PARTS = ("translate", "commands", "inbound", "inbox", "security", "model", "app.py", "config.py", "shared.py")
"""What these raise is read by vendors and operators; a FHIR client gets both languages from the class."""
CLASSES = {name for name, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.GatewayError)}
ANYTHING = {"MappingError", "ConfigError"}  # here a reason that is not written in the code needs Chinese before it, too
SPEAKERS = ("say", "tracked", "counted")
WORD = re.compile(r"\b(?!https?\b|mllp\b)[a-z]{4,}")
WORDS = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")
HAN = re.compile(r"[\u4e00-\u9fff]")


def calls() -> Iterator[tuple[str, ast.Call]]:
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")) if (ROOT / part).is_dir() else [ROOT / part]:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def said(node: ast.expr) -> str:
    """The texts written in an expression, one after another."""
    return "".join(one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str))


def written(call: ast.Call) -> str:
    """What a call's own texts say, without what is put into them."""
    whole = [one for arg in call.args for one in (arg.values if isinstance(arg, ast.JoinedStr) else [arg])]
    return " ".join(one.value for one in whole if isinstance(one, ast.Constant) and isinstance(one.value, str))


def speaks_chinese(node: ast.expr | None) -> bool:
    """Written here in Chinese, or in a variable that says so by its name (zh)."""
    if node is None:
        return False
    named = [one for one in ast.walk(node) if isinstance(one, (ast.Name, ast.Attribute))]
    return bool(HAN.search(said(node))) or any("zh" in ast.unparse(one) for one in named)


def argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    named = {one.arg: one.value for one in call.keywords}
    return named.get(name) or (call.args[place] if len(call.args) > place else None)


def english_only(call: ast.Call) -> bool:
    name = name_of(call)
    if name in CLASSES:
        detail = argument(call, 1, "detail")
        needs = detail is not None and (name in ANYTHING or bool(WORDS.search(said(detail))))
        return needs and not speaks_chinese(argument(call, 9, "detail_zh"))
    if name == "Slip" or (name == "error" and WORDS.search(said(call))):
        return not (logs(call) or speaks_chinese(argument(call, 1, "zh")))
    if name in SPEAKERS:
        text = written(call)
        return bool(WORD.search(text)) and not HAN.search(text)
    return name == "unknown" and len(call.args) == 4 and not speaks_chinese(call.args[3])


def logs(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("log", "_LOG")


def test_every_reason_is_given_in_chinese_too() -> None:
    assert [f"{place} {ast.unparse(call)}" for place, call in calls() if english_only(call)] == []


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ('MappingError(place, "no such rule")', True),
        ("ConfigError(place, str(fault))", True),
        ('node.error("no such rule", "no such rule")', True),
        ('Slip("a value is missing", "is missing")', True),
        ('MappingError(place, "no such rule", detail_zh="没有这条规则。")', False),
        ("MappingError(place, text, detail_zh=zh)", False),
        ('TooLarge(detail=f"> {limit} bytes")', False),
        ('log.error("message failed: %s", key)', False),
        ('say("stopping")', True),
        ('tracked(files, total, "loading")', True),
        ("say(f\"started in {took['seconds']} s\")", True),
        ('say("正在停止 / stopping")', False),
        ('say(f"http://{host}  mllp {place}")', False),
    ],
)
def test_the_rule_catches_what_it_is_for(code: str, refused: bool) -> None:
    (call,) = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and name_of(node) != "str"]
    assert english_only(call) is refused


def test_what_is_wrong_with_a_value_has_its_chinese() -> None:
    """`raise ValueError` of what reads values; what reads a whole message or a mapping says it otherwise."""
    untold = []
    for path in [*sorted((ROOT / "translate").glob("functions*.py")), ROOT / "model/times.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and name_of(node.exc) == "ValueError":
                text = said(node.exc)
                if not any(text.startswith(begin) for begin in engine._REASONS):
                    untold.append(f"{path.name}:{node.lineno} {text}")
    assert untold == []
