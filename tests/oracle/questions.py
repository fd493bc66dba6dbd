"""Random searches as a client would write them, made from values that are stored so that many of them hit."""

from __future__ import annotations

import random
from typing import Any

from gateway.model.systems import LOINC
from tests.oracle import terms, values, wordbook
from tests.oracle.evaluator import Parameter, Stored, World, compartments, found, parameters

LEFT_OUT = {
    "_filter", "_query", "near", "phonetic", "item-subject", "age", "birthOrderBoolean",
    "part-agree", "mothersMaidenName", "composition", "message", "context-type-quantity", "context-type-value",
    "context-quantity",
}  # fmt: skip
_LINKS: dict[str, dict[str, str]] = {
    "Observation": {
        "subject:Patient": "Patient", "patient": "Patient", "encounter": "Encounter",
        "performer:Organization": "Organization", "performer:Practitioner": "Practitioner",
    },
    "Encounter": {"patient": "Patient", "service-provider": "Organization"},
    "Patient": {"organization": "Organization", "general-practitioner:Practitioner": "Practitioner"},
    "Organization": {"partof": "Organization"},
    "DiagnosticReport": {"result": "Observation", "patient": "Patient"},
    "Condition": {"encounter": "Encounter", "patient": "Patient"},
    "Composition": {"entry:Observation": "Observation"},
}  # fmt: skip
"""Reference parameters to chain along, and where they lead."""
_BACK: dict[str, list[tuple[str, str]]] = {
    "Patient": [("Observation", "patient"), ("Condition", "patient"), ("Encounter", "subject")],
    "Encounter": [("Observation", "encounter")],
    "Organization": [("Patient", "organization"), ("Encounter", "service-provider")],
    "Observation": [("DiagnosticReport", "result")],
    "Practitioner": [("Observation", "performer")],
}
"""Who points to a type, by which parameter."""
FULL_TEXT = [
    "偏高", "血钾", "异常 未见", "sodium low", "ham", "铁", "b", "血红蛋白", "final", "amp", "1999", "LP-ION",
    "o1", "第一",
]  # fmt: skip
_ALONG = [
    ("_include", "*"), ("_include", "{}:*"), ("_include:iterate", "Observation:performer:Organization"),
    ("_include:iterate", "Organization:partof"), ("_include", "Observation:subject"),
    ("_include:iterate", "Patient:organization"), ("_revinclude", "Observation:patient"),
    ("_revinclude:iterate", "Observation:encounter"), ("_revinclude", "Observation:*"),
    ("_include", "DiagnosticReport:result"), ("_include", "Observation:performer:Practitioner"),
    ("_include:iterate", "*"), ("_revinclude", "*"), ("_revinclude:iterate", "*"), ("_include:iterate", "Encounter:*"),
    ("_revinclude", "Observation:subject:Patient"), ("_revinclude", "Encounter:*:Patient"),
    ("_include", "{}:*:Patient"), ("_revinclude:iterate", "DiagnosticReport:result:Observation"),
    ("_include", "Encounter:participant"),
]  # fmt: skip


class Asker:
    """Makes questions about a world."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng = rng
        self.look(world)

    def look(self, world: World) -> None:
        """Ask about this one from now on."""
        self.world = world
        self.types = sorted({one.type for one in world.stored})
        self.by_type: dict[str, list[Stored]] = {}
        self.used: dict[str, tuple[list[Parameter], list[Parameter]]] = {}
        for one in world.stored:
            self.by_type.setdefault(one.type, []).append(one)

    def question(self) -> tuple[str, list[tuple[str, str]]]:
        """(`Type`, `Patient/x/Type`, `Patient/x/*` or "", name-value pairs)."""
        chance = self.rng.random()
        within = self.compartment() if chance < 0.2 else ""
        if chance < 0.06 or chance > 0.92:
            return f"{within}*" if within else "", self.across(within) + self.controls("")
        types = self.inside(within)
        type_ = self.rng.choices(types, [len(self.by_type[t]) + 10 for t in types])[0]
        given = [
            self.condition(type_, 2)
            for _ in range(self.rng.choice([0, 0, 1, 1] if within else [0, 1, 1, 1, 1, 2, 2, 3]))
        ]
        if self.rng.random() < 0.35:
            given.append(("_sort", self.sort(type_)))
        return within + type_, given + self.controls(type_)

    def controls(self, type_: str) -> list[tuple[str, str]]:
        """How the answer should come."""
        given = [("_count", self.rng.choice(["0", "1", "3", "3", "7", "7", "50", "1000", "1000", "1000"]))]
        if self.rng.random() < 0.3:
            given.append(("_total", self.rng.choice(["accurate", "accurate", "estimate", "none"])))
        rules = self.rng.sample(_ALONG, self.rng.choice([0, 0, 1, 2]))
        return given + [(name, rule.format(type_)) for name, rule in rules if _allowed(type_, name, rule)]

    def compartment(self) -> str:
        """`Patient/x/` or `Encounter/x/`; now and then of nobody."""
        owner = self.rng.choice(["Patient", "Patient", "Encounter"])
        return f"{owner}/{self.rng.choice([one.id for one in self.by_type[owner]] + ['nobody'])}/"

    def inside(self, within: str) -> list[str]:
        """The types that can lie in it."""
        owner = within.partition("/")[0]
        return [one for one in self.types if not owner or one == owner or one in compartments()[owner]]

    def across(self, within: str) -> list[tuple[str, str]]:
        """Several types, and what they all have."""
        types = self.inside(within)
        some = sorted(self.rng.sample(types, self.rng.choice([1, 2, 2, 3, len(types)])))
        given = [("_type", ",".join(some))] if not within or self.rng.random() < 0.6 else []
        shared = self.shared(some if given else [*compartments()[within.partition("/")[0]], within.partition("/")[0]])
        made = [self.condition(self.rng.choice(some), 1) for _ in range(5)]
        fitting = [one for one in made if _for_all(one[0], shared)]
        given += fitting[: self.rng.choice([0, 1, 1, 2])]
        return given + ([("_sort", "-_lastUpdated")] if self.rng.random() < 0.2 else [])

    def shared(self, types: list[str]) -> set[str]:
        """Codes that mean one kind of thing for all of them."""
        known = [parameters(one) for one in types]
        return {code for code, one in known[0].items() if all(code in k and k[code].kind == one.kind for k in known)}

    def condition(self, type_: str, depth: int) -> tuple[str, str]:
        """One filter; a chain or `_has` now and then."""
        if depth and self.rng.random() < 0.2:
            links = _LINKS.get(type_)
            if links:
                code = self.rng.choice(list(links))
                name, value = self.condition(links[code], depth - 1)
                return f"{code}.{name}", value
        if depth and self.rng.random() < 0.2:
            ways = _BACK.get(type_)
            if ways:
                other, code = self.rng.choice(ways)
                name, value = self.condition(other, depth - 1)
                return f"_has:{other}:{code}:{name}", value
        return self.filter(type_)

    def filter(self, type_: str) -> tuple[str, str]:
        """A parameter with a value, now and then with a modifier or alternatives."""
        if self.rng.random() < 0.05:
            return self.rng.choice(["_text", "_content"]), ",".join(
                self.rng.sample(FULL_TEXT, self.rng.choice([1, 1, 2]))
            )
        while True:
            known, used = self.parameters(type_)
            param = self.rng.choice(used if self.rng.random() < 0.9 else known)
            if param.code == "_id":
                return "_id", ",".join(self.rng.choice(self.by_type[type_]).id for _ in range(self.rng.choice([1, 2])))
            if param.code == "_lastUpdated":
                at = self.rng.choice(self.world.stored).at
                return "_lastUpdated", self.rng.choice(["", "ge", "lt", "gt", "le"]) + at.isoformat(timespec="seconds")
            if self.rng.random() < 0.08 and param.kind != "composite":
                return f"{param.code}:missing", self.rng.choice(["true", "false"])
            made = self.valued(type_, param)
            if made is not None:
                return made

    def parameters(self, type_: str) -> tuple[list[Parameter], list[Parameter]]:
        """All that can be asked of a type, and those that some have a value for."""
        if type_ not in self.used:
            known = [p for p in parameters(type_).values() if p.code not in LEFT_OUT]
            self.used[type_] = (
                known,
                [p for p in known if any(found(one, p) for one in self.by_type[type_][:20])] or known,
            )
        return self.used[type_]

    def valued(self, type_: str, param: Parameter) -> tuple[str, str] | None:
        modifier = self.modifier(type_, param)
        pieces = []
        for _ in range(self.rng.choice([1, 1, 1, 2])):
            text = self.value(type_, param, modifier)
            if text is not None and "," not in text and "\\" not in text:
                pieces.append(text)
        return (f"{param.code}:{modifier}" if modifier else param.code, ",".join(pieces)) if pieces else None

    def modifier(self, type_: str, param: Parameter) -> str:
        ways = {"string": ["", "", "exact", "contains"], "uri": ["", "below", "above"]}.get(param.kind, [""])
        if param.kind in ("token", "reference"):
            stored = next((value for one in self.by_type[type_] for value in found(one, param)), None)
            ways = ["", "", *(_on_token if param.kind == "token" else _on_reference)(type_, param, stored)]
        modifier = self.rng.choice(ways)
        if modifier != "type":
            return modifier
        return self.rng.choice([t for t in ("Patient", "Practitioner", "Organization") if t in param.targets] or [""])

    def value(self, type_: str, param: Parameter, modifier: str) -> str | None:
        """A question's value near one that is stored; None when nothing is."""
        stored = [
            value
            for one in self.rng.sample(self.by_type[type_], min(8, len(self.by_type[type_])))
            for value in found(one, param)
        ]
        if param.kind == "composite":
            return self.composite(type_, param)
        if not stored:
            return None
        return _WAYS[param.kind](self.rng, self.rng.choice(stored), param, modifier)

    def composite(self, type_: str, param: Parameter) -> str | None:
        texts = []
        for code, _ in param.parts:
            part = parameters(type_)[code]
            text = self.value(type_, part, "")
            if text is None or "$" in text:
                return None
            texts.append(text)
        return "$".join(texts)

    def sort(self, type_: str) -> str:
        """One or two keys."""
        kinds = ("token", "string", "date", "number", "reference", "uri")
        plain = [
            p.code
            for p in parameters(type_).values()
            if p.kind in kinds and p.code not in LEFT_OUT and p.code not in ("_tag", "_security", "_profile", "_source")
        ]
        keys = self.rng.sample(plain, self.rng.choice([1, 1, 2]))
        return ",".join(self.rng.choice(["", "-"]) + key for key in keys)


def _for_all(name: str, shared: set[str]) -> bool:
    """A parameter all have, with nothing behind it that only some of them take."""
    head, dot, _ = name.partition(".")
    code, _, modifier = head.partition(":")
    return code in shared and (bool(dot) or modifier in ("", "missing", "not") or modifier[0].isupper())


def _allowed(type_: str, name: str, rule: str) -> bool:
    return ("{}" not in rule or bool(type_)) and (
        name != "_include" or not type_ or rule.split(":")[0] in ("*", "{}", type_)
    )


def _on_token(type_: str, param: Parameter, stored: Any) -> list[str]:
    """Modifiers that make sense, by what such values look like."""
    if isinstance(stored, str):
        coded = ["in", "not-in"] if (type_, param.code) in terms.IMPLIED else []
        return ["not", *coded, *(["below"] if param.code == "contenttype" else [])]
    if not isinstance(stored, dict) or stored.get("system") == "phone":
        return ["not"]
    return ["not", "text", "of-type"] if "value" in stored else ["not", "text", "in", "not-in", "below", "above"]


def _on_reference(type_: str, param: Parameter, stored: Any) -> list[str]:
    return ["below"] if isinstance(stored, str) else ["identifier", "type"]


def _token(rng: random.Random, value: Any, param: Parameter, modifier: str) -> str | None:
    if modifier in ("in", "not-in"):
        return rng.choice(wordbook.SETS)
    if modifier == "below" and isinstance(value, str):
        return value.partition(";")[0]
    if modifier in ("below", "above"):
        system, words = rng.choice([(LOINC, wordbook.LAB_CODES), (wordbook.ICD, wordbook.ICD_CODES)])
        return f"{system}|{rng.choice([*words, 'METABOLIC', 'NA-URINE'])}"
    if modifier == "text":
        texts = values.texts_of_token(value)
        return rng.choice(texts)[: rng.choice([1, 2, 3, 9])] if texts else None
    if modifier == "of-type":
        one = (value.get("type") or {}).get("coding") if isinstance(value, dict) else None
        return f"{one[0]['system']}|{one[0]['code']}|{value['value']}" if one else None
    pairs = values.codings(value)
    if not pairs:
        return None
    system, code = rng.choice(pairs)
    if not isinstance(value, dict):
        return code.swapcase() if param.code == "version" else code
    return rng.choice([code, code, f"{system}|{code}", f"|{code}", f"{system}|" if system else code, f"urn:no|{code}"])


def _string(rng: random.Random, value: Any, param: Parameter, modifier: str) -> str | None:
    texts = values.said(value, param.code)
    if modifier != "exact":
        texts = texts + values.spoken(value, param.code)
    if not texts:
        return None
    text = rng.choice(texts)
    if modifier == "exact":
        return rng.choice([text, text.upper()])
    if modifier == "contains" and len(text) > 2:
        at = rng.randrange(len(text) - 1)
        text = text[at : at + rng.choice([1, 2, 4])]
    else:
        text = text[: rng.choice([1, 2, 3, 5, 20])]
    text = rng.choice([text, text.upper(), text.replace("ü", "u"), text.replace("A", "Ａ")])
    return text if values.tight(text) else None


def _reference(rng: random.Random, value: Any, param: Parameter, modifier: str) -> str | None:
    if modifier == "identifier":
        one = value.get("identifier") if isinstance(value, dict) else None
        return _token(rng, one, param, "") if one else None
    if isinstance(value, str):
        return rng.choice([value, value.partition("|")[0], value.partition("|")[0] + "|1", value[:-1]])
    text = value.get("reference")
    if text is None:
        return None
    if modifier:
        return rng.choice([text, text.rpartition("/")[2]]) if ":" not in text else None
    return rng.choice([text, text, text.rpartition("/")[2]]) if ":" not in text else text


def _date(rng: random.Random, value: Any, param: Parameter, modifier: str) -> str | None:
    texts = [value] if isinstance(value, str) else [t for key in ("start", "end") if (t := value.get(key))]
    texts += value.get("event", []) if isinstance(value, dict) else []
    text = rng.choice(texts or ["2026-02-03"])
    shown = rng.choice([text, text[:10], text[:7], text[:4], "2026-02-03T07:45", "2026-02-03"])
    return rng.choice(["", "", *values.PREFIXES]) + shown


def _digits(rng: random.Random, number: Any) -> str:
    text = str(number)
    return rng.choice(["", "", "", *values.PREFIXES]) + rng.choice(
        [text, text, text.partition(".")[0] or "0", text + "0" if "." in text else text]
    )


def _number(rng: random.Random, value: Any, param: Parameter, modifier: str) -> str | None:
    number = value if not isinstance(value, dict) else rng.choice([value["low"]["value"], value["high"]["value"]])
    return _digits(rng, number)


def _quantity(rng: random.Random, value: Any, param: Parameter, modifier: str) -> str | None:
    one = value.get("low", value)
    if one.get("value") is None:
        return None
    digits, system, code = _digits(rng, one["value"]), one.get("system", ""), one.get("code", "")
    if not code:
        return rng.choice([digits, f"{digits}||{one.get('unit', 'mg')}"])
    ways = [digits, f"{digits}|{system}|{code}", f"{digits}||{code}", f"{digits}||{one.get('unit', 'x')}"]
    other = {"g/L": "mg/dL", "mg/dL": "g/L", "mmol/L": "umol/L", "umol/L": "mmol/L"}.get(code)
    return rng.choice([*ways, f"{digits}|{system}|{other}"] if other else ways)


def _uri(rng: random.Random, value: Any, param: Parameter, modifier: str) -> str | None:
    if modifier == "below":
        return str(value)[: rng.choice([8, 14, 40])]
    if modifier == "above":
        return str(value) + rng.choice(["", "/more", ".7"])
    return str(value) + (rng.choice(["|1", "|2A"]) if param.code == "url" and rng.random() < 0.3 else "")


_WAYS = {"token": _token, "string": _string, "reference": _reference, "date": _date, "number": _number,
         "quantity": _quantity, "uri": _uri}  # fmt: skip
