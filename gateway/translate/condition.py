"""The grammar of `when`, and nothing more of a language:

    condition := clause (("and" | "or") clause)*        "and" binds closer; "not" and ( ) as usual
    clause    := PATH ("=" | "!=") VALUE | PATH ["not"] "in" [VALUE, …] | PATH "matches" 'regex'
               | PATH "present" | PATH "absent"
A VALUE is a word or a text in quotes. A path with spaces, brackets or quotes stands in backticks.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .strict_yaml import Slip

_TOKEN = re.compile(r"\s*(?:(`[^`]*`)|('(?:[^']*)'|\"[^\"]*\")|(!=|=|\(|\)|\[|\]|,)|([^\s()\[\],=!'\"`]+))")
_WORDS = frozenset({"and", "or", "not", "in", "matches", "present", "absent"})

Read = Callable[[str], str]  # path → Python expression: of its plain text, or whether it holds anything
Bind = Callable[[object, str], str]


class Condition:
    """One parse of one condition into a Python expression. Raises Slip with what was expected."""

    def __init__(self, text: str, read: Read, held: Read, bind: Bind) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._read = read
        self._held = held
        self._bind = bind

    def code(self) -> str:
        """The whole condition."""
        out = self._either()
        if self._at < len(self._tokens):
            said = self._tokens[self._at][1]
            raise Slip(f"{said!r} is not expected here", f"这里不应出现 {said!r}；两个条件之间写 and 或 or。")
        return out

    def _peek(self) -> str:
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")
        return text if kind in ("word", "sign") else f"{kind}:"

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise Slip("the condition ends too early", "条件没有写完。")
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._at += 1
        return True

    def _either(self) -> str:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else f"({' or '.join(parts)})"

    def _both(self) -> str:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else f"({' and '.join(parts)})"

    def _one(self) -> str:
        if self._take("not"):
            return f"(not {self._one()})"
        if self._take("("):
            inner = self._either()
            if not self._take(")"):
                raise Slip("a closing ) is missing", "缺少右括号 )。")
            return f"({inner})"
        return self._clause()

    def _clause(self) -> str:
        kind, path = self._next()
        if kind not in ("word", "path") or path in _WORDS:
            raise Slip(f"a path is expected, not {path!r}", f"这里应是路径（如 OBX-3），不是 {path!r}。")
        if self._take("present"):
            return self._held(path)
        if self._take("absent"):
            return f"(not {self._held(path)})"
        code = self._read(path)
        negated = self._take("not")
        kind, sign = self._next()
        if sign in ("=", "!=") and not negated:
            return f"({code} {'==' if sign == '=' else '!='} {self._value()!r})"
        if sign == "in":
            return f"({code} {'not in' if negated else 'in'} {self._bind(self._values(), 'set')})"
        if sign == "matches" and not negated:
            return f"({self._bind(_pattern(self._value()), 'match')}({code}) is not None)"
        known = "= != in matches present absent"
        raise Slip(f"{sign!r} is no comparison; known are {known}", f"{sign!r} 不是比较；可用：{known}。")

    def _value(self) -> str:
        kind, text = self._next()
        if kind not in ("word", "text"):
            raise Slip(f"a value is expected, not {text!r}", f"这里应是一个值，不是 {text!r}；含标点的值请加引号。")
        return text

    def _values(self) -> frozenset[str]:
        if not self._take("["):
            raise Slip("a list in [ ] is expected after in", "in 之后应是 [ ] 里的列表，如 in [A, B]。")
        found = [self._value()]
        while self._take(","):
            found.append(self._value())
        if not self._take("]"):
            raise Slip("a closing ] is missing", "缺少右方括号 ]。")
        return frozenset(found)


def _pattern(text: str) -> Callable[[str], object]:
    try:
        return re.compile(text).search
    except re.error as error:
        raise Slip(f"{text!r} is no regular expression: {error}", f"{text!r} 不是正则表达式：{error}。") from None


def _tokens(text: str) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if not found:
            raise Slip(f"cannot read {text[at:]!r}", f"从 {text[at:]!r} 起读不懂；引号要成对。")
        path, quoted, sign, word = found.groups()
        kind = "path" if path else "text" if quoted is not None else "sign" if sign else "word"
        out.append((kind, path[1:-1] if path else quoted[1:-1] if quoted is not None else sign or word))
        at = found.end()
    return out
