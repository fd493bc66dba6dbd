"""The slow, obvious search: every resource is walked with FHIRPath for every question; no index is involved.

It reads the official SearchParameter expressions and the URL itself, so it shares nothing with the gateway's parser,
extractor or engines.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from fhirpathpy import compile as fhirpath
from fhirpathpy.models import models

from tests.oracle import terms, values

TABLE = Path(__file__).parents[2] / "gateway" / "validate" / "tables" / "search.json"
OWN = Path(__file__).parents[2] / "profiles" / "searchparameter"
_META = {"_tag": "meta.tag", "_profile": "meta.profile", "_security": "meta.security", "_source": "meta.source"}
_COMPARTMENT = Path(TABLE.parent / "compartments.json")
_MISPRINTED = {"relatesto": "relation", "relation": "relatesto"}
"""R4's table names the parts of DocumentReference.relationship the wrong way round."""
_FULL_TEXT = ("_text", "_content")
_BY_SET = ("in", "not-in", "below", "above")
Json = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    code: str
    kind: str
    expression: str
    targets: tuple[str, ...]
    parts: tuple[tuple[str, str], ...] = ()


@dataclass
class Stored:
    """One current resource. tx: its commit's place in the order of commits."""

    doc: Json
    tx: int
    at: datetime
    found: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def type(self) -> str:
        return str(self.doc["resourceType"])

    @property
    def id(self) -> str:
        return str(self.doc["id"])

    @property
    def name(self) -> str:
        return f"{self.type}/{self.id}"


@cache
def parameters(type_: str) -> dict[str, Parameter]:
    """The official parameters of a type, and the project's own."""
    found: dict[str, Parameter] = {}
    for path in OWN.glob("*.json"):
        own = json.loads(path.read_text("utf-8"))
        if type_ in own["base"]:
            found[own["code"]] = Parameter(own["code"], own["type"], own["expression"], tuple(own.get("target", ())))
    for code, bases, kind, expression, targets, parts, _ in json.loads(TABLE.read_text("utf-8"))["parameters"]:
        if (type_ in bases or "Resource" in bases) and (expression or code == "_lastUpdated"):
            named = [
                (_MISPRINTED.get(part[0], part[0]) if code == "relationship" else part[0], part[1]) for part in parts
            ]
            made = Parameter(code, kind, _META.get(code, expression), tuple(targets), tuple(named))
            if code not in found or code.startswith("_"):
                found[code] = made
    return found


@cache
def compartments() -> dict[str, dict[str, list[str]]]:
    """Of each compartment the types in it, and by which parameters."""
    found: dict[str, dict[str, list[str]]] = json.loads(_COMPARTMENT.read_text("utf-8"))
    return found


@cache
def path(expression: str) -> Any:
    # What a reference resolves to is told by its text; the library does not resolve.
    told = re.sub(r"resolve\(\)\s+is\s+(\w+)", r"reference.startsWith('\1/')", expression)
    # R4 writes `as` where many values may stand, which FHIRPath itself forbids; the published table has one wrong name.
    several = re.sub(r"\(([\w.]+) as (\w+)\)", r"\1.ofType(\2)", told).replace(".as(", ".ofType(")
    return fhirpath(several.replace("(DateTime)", "(dateTime)"), models["r4"])


def found(one: Stored, param: Parameter) -> list[Any]:
    """Values of a parameter on a resource."""
    if param.code not in one.found:
        one.found[param.code] = _found(one, param)
    return one.found[param.code]


def _found(one: Stored, param: Parameter) -> list[Any]:
    if (one.type, param.code) == ("Patient", "deceased"):
        return (
            [one.doc["deceasedBoolean"]] if "deceasedBoolean" in one.doc else [True] * ("deceasedDateTime" in one.doc)
        )
    out = list(path(param.expression)(one.doc, {}))
    if param.code in ("family", "given") and param.kind == "string":
        place = 0 if param.code == "family" else 1
        out += [part for name in one.doc.get("name", []) if (part := values.split_name(name)[place])]
    return out


class World:
    """Everything stored, and who points to whom."""

    def __init__(self, stored: list[Stored]) -> None:
        self.stored = stored
        self.by_name = {one.name: one for one in stored}

    def canonical(self, type_: str, named: str) -> Json:
        """The newest of a url, of a url and a version, or the one at `Type/id`."""
        for one in sorted(self.stored, key=lambda one: -one.tx):
            url = str(one.doc.get("url"))
            if one.type == type_ and named in (one.name, url, f"{url}|{one.doc.get('version')}"):
                return one.doc
        raise KeyError(named)

    # ---- one filter ---------------------------------------------------------------------------
    def fits(self, one: Stored, name: str, value: str) -> bool:
        """Whether a resource fits one `name=value` of a URL."""
        if name.startswith("_has:"):
            return self._has(one, name, value)
        head, dot, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        if code in _FULL_TEXT:
            return values.full_text(one.doc, value, narrative=code == "_text")
        param = parameters(one.type).get(code)
        assert param is not None, (one.type, name)
        if dot:
            return self._chained(one, param, modifier, rest, value)
        if modifier == "missing":
            return (value == "true") == (not found(one, param))
        if (one.type, code, modifier, value) == ("Patient", "deceased", "", "false"):
            return True not in found(one, param)  # R4's expression is false for whoever is not told dead
        asked = value.split(",")
        if param.kind == "token" and modifier in _BY_SET and param.code != "contenttype":
            wanted = {pair for text in asked for pair in terms.codes(self.canonical, modifier, text)}
            return (modifier != "not-in") == (not wanted.isdisjoint(_systemed(one, param)))
        if modifier == "not":
            return not any(self._any(one, param, "", text) for text in asked)
        return any(self._any(one, param, modifier, text) for text in asked)

    def _any(self, one: Stored, param: Parameter, modifier: str, asked: str) -> bool:
        if param.code == "_id":
            return one.id == asked
        if param.code == "_lastUpdated":
            return values.dated(one.at, one.at, asked)
        if param.kind == "composite":
            return self._composite(one, param, asked)
        if param.code == "url" and not modifier and "|" in asked:
            return asked == f"{one.doc.get('url')}|{one.doc.get('version')}"
        return any(matches(param, value, modifier, asked) for value in found(one, param))

    def _composite(self, one: Stored, param: Parameter, asked: str) -> bool:
        texts = asked.split("$")
        for base in path(param.expression)(one.doc, {}):
            typed = base | {"resourceType": one.type} if base is one.doc else base
            if all(self._part(one, typed, part, text) for part, text in zip(param.parts, texts, strict=True)):
                return True
        return False

    def _part(self, one: Stored, base: Json, part: tuple[str, str], text: str) -> bool:
        code, expression = part
        standalone = parameters(one.type)[code]
        ways = [re.sub(r"\.as\((\w+)\)", r"|\1", way.strip()) for way in expression.split(" | ")]
        for way in ways:
            element, _, cast = way.partition("|")
            key = element + (cast[:1].upper() + cast[1:])
            given = base.get(key)
            for value in given if isinstance(given, list) else [] if given is None else [given]:
                if matches(standalone, value, "", text):
                    return True
        return False

    # ---- across resources ---------------------------------------------------------------------
    def _chained(self, one: Stored, param: Parameter, type_: str, rest: str, value: str) -> bool:
        targets = [self.by_name.get(str(ref.get("reference"))) for ref in found(one, param) if isinstance(ref, dict)]
        code = rest.partition(".")[0].partition(":")[0]
        known = [t for t in targets if t is not None and (not type_ or t.type == type_)]
        asked_of_all = rest.startswith("_has:") or code in _FULL_TEXT
        return any(self.fits(t, rest, value) for t in known if asked_of_all or code in parameters(t.type))

    def _has(self, one: Stored, name: str, value: str) -> bool:
        _, type_, code, rest = name.split(":", 3)
        for other in self.stored:
            if other.type == type_ and self._points(other, code, one) and self.fits(other, rest, value):
                return True
        return False

    def _points(self, other: Stored, code: str, at: Stored) -> bool:
        refs = found(other, parameters(other.type)[code])
        return any(isinstance(ref, dict) and ref.get("reference") == at.name for ref in refs)

    # ---- a whole search -----------------------------------------------------------------------
    def search(self, place: str, given: list[tuple[str, str]]) -> list[Stored]:
        """All matches in order. place: `Type`, `Patient/x/Type`, `Patient/x/*`, or "" with `_type` among the given."""
        filters = [(name, value) for name, value in given if not _control(name)]
        within, _, type_ = place.rpartition("/")
        out = [one for one in self.stored if type_ in ("", "*", one.type) and (not within or self.inside(one, within))]
        if "_type" in dict(given):
            out = [one for one in out if one.type in dict(given)["_type"].split(",")]
        out = [one for one in out if all(self.fits(one, name, value) for name, value in filters)]
        out.sort(key=lambda one: -one.tx)
        for part in reversed(dict(given).get("_sort", "").split(",") if "_sort" in dict(given) else []):
            keyed = [(sort_key(one, part), one) for one in out]
            with_value = [pair for pair in keyed if pair[0] is not None]
            with_value.sort(key=lambda pair: pair[0], reverse=part.startswith("-"))
            out = [one for _, one in with_value] + [one for key, one in keyed if key is None]
        return out

    def included(self, page: list[Stored], given: list[tuple[str, str]]) -> set[str]:
        """Names of what goes along with a page."""
        reached = {one.name: one for one in page}
        rules = [(name, value) for name, value in given if name.startswith(("_include", "_revinclude"))]
        once = [one for rule in rules for one in self._along(page, rule)]
        fresh = {one.name: one for one in once if one.name not in reached}
        reached |= fresh
        for _ in range(3):
            again = [one for rule in rules if "iterate" in rule[0] for one in self._along(list(reached.values()), rule)]
            reached |= {one.name: one for one in again}
        return set(reached) - {one.name for one in page}

    def _along(self, page: list[Stored], rule: tuple[str, str]) -> list[Stored]:
        name, value = rule
        source, code, target = [*value.split(":"), "", ""][:3] if value != "*" else ["", "*", ""]
        if name.startswith("_include"):
            return [
                self.by_name[ref] for one in page if source in ("", one.type) for ref in self.refs(one, code)
                if ref in self.by_name and target in ("", ref.split("/")[0])
            ]  # fmt: skip
        names = {one.name for one in page if target in ("", one.type)}
        return [one for one in self.stored if source in ("", one.type) and names & set(self.refs(one, code))]

    def refs(self, one: Stored, code: str) -> list[str]:
        """What the reference parameters of a code, or with `*` all of them, point to."""
        params = parameters(one.type).values()
        wanted = [p for p in params if p.kind == "reference" and code in ("*", p.code)]
        return [
            str(ref["reference"])
            for p in wanted
            for ref in found(one, p)
            if isinstance(ref, dict) and "reference" in ref
        ]

    def inside(self, one: Stored, compartment: str) -> bool:
        """Whether a resource belongs to the compartment of `Patient/x`."""
        if one.name == compartment:
            return True
        codes = compartments()[compartment.split("/")[0]].get(one.type, [])
        known = parameters(one.type)
        return any(compartment in self.refs(one, code) for code in codes if code in known)


def _control(name: str) -> bool:
    return name.split(":")[0] in ("_sort", "_count", "_include", "_revinclude", "_total", "_type")


def _systemed(one: Stored, param: Parameter) -> set[tuple[str, str]]:
    """(system, code) pairs of a parameter, that of a bare code as its binding says."""
    system = terms.IMPLIED.get((one.type, param.code), "")
    return {
        pair
        for value in found(one, param)
        for pair in ([(system, value)] if isinstance(value, str) else values.codings(value))
    }


def matches(param: Parameter, value: Any, modifier: str, asked: str) -> bool:
    """One value against one alternative."""
    if param.kind == "token" and param.code == "version":  # a string: whatever its case
        return str(value).casefold() == asked.casefold()
    if param.kind == "token":
        return _token(value, modifier, asked)
    if param.kind == "string":
        close = param.code in ("name", "phonetic", "family", "given") and not isinstance(value, str)
        close = close or param.code in ("family", "given", "phonetic") or param.code.startswith("address")
        return values.string(value, asked, param.code, modifier, close=close)
    if param.kind == "reference":
        return _reference(param, value, modifier, asked)
    if param.kind == "uri":
        return values.uri(value, asked, modifier)
    simple = {"date": values.date, "number": values.number, "quantity": values.quantity}
    return simple[param.kind](value, asked)


def _token(value: Any, modifier: str, asked: str) -> bool:
    if modifier == "below":  # of a media type
        return str(value).partition(";")[0] == asked
    if modifier == "text":
        return any(values.folded(text).startswith(values.folded(asked)) for text in values.texts_of_token(value))
    return values.of_type(value, asked) if modifier == "of-type" else values.token(value, asked)


def _reference(param: Parameter, value: Any, modifier: str, asked: str) -> bool:
    if modifier == "identifier":
        return isinstance(value, dict) and "identifier" in value and values.token(value["identifier"], asked)
    text = value if isinstance(value, str) else str(value.get("reference", ""))
    if isinstance(value, str) and modifier == "below":
        return text == asked or text.startswith(asked + ("." if "|" in asked else "|"))
    if isinstance(value, str):  # canonical
        return text == asked or ("|" not in asked and text.partition("|")[0] == asked)
    if "/" not in asked:
        type_, _, id_ = text.partition("/")
        allowed = (modifier,) if modifier else param.targets
        return id_ == asked and (not allowed or type_ in allowed)
    return text == asked and (not modifier or text.startswith(modifier + "/"))


def sort_key(one: Stored, key: str) -> Any:
    """What a resource sorts by, None without a value: of several the one that comes first in the order asked for."""
    code, first = key.lstrip("-"), max if key.startswith("-") else min
    if code == "_id":
        return one.id
    if code == "_lastUpdated":
        return one.at
    param = parameters(one.type)[code]
    given = found(one, param)
    if param.kind == "date":
        return first((lo for value in given for lo, _ in values.spans(value)), default=None)
    if param.kind in ("number", "quantity"):
        return first((amount for value in given for amount in _amounts(value)), default=None)
    if param.kind == "token":
        return first((text for value in given for text in _sorting_texts(value)), default=None)
    if param.kind == "string":
        return first((values.leading(value, code) for value in given), default=None)
    if param.kind == "reference":
        texts = [ref.get("reference") if isinstance(ref, dict) else ref for ref in given]
        return first((text for text in texts if text), default=None)
    return first(map(str, given), default=None)


def _sorting_texts(value: Any) -> list[str]:
    if isinstance(value, dict) and "coding" in value:
        return [text for one in value["coding"] for text in _sorting_texts(one)] or [value["text"]]
    if not isinstance(value, dict):
        return [str(value)]
    return [str(next(value[key] for key in ("code", "value", "display", "text") if value.get(key)))]


def _amounts(value: Any) -> list[Decimal]:
    if not isinstance(value, dict):
        return [Decimal(str(value))]
    ends = [value[end] for end in ("low", "high") if end in value] or [value]
    return [Decimal(str(end["value"])) for end in ends if "value" in end]
