"""JSON Schema of the mapping files, for editors: made from the loader's own key sets, so there is one truth.

An editor with a YAML language server reads it through `# yaml-language-server: $schema=../map.schema.json`.
What needs R4 (element names) or the library (tables, parts) stays with `gateway map check`.
Source: JSON Schema draft 2020-12.
"""

from __future__ import annotations

from ..model.resource import Json
from ..model.view import DRIVERS
from .function_list import ALL_FUNCTIONS
from .mapping import IGNORE_KEYS, MAP_KEYS, RULE_KEYS
from .sources import FORMATS, LEVELS, MEMBER_KEYS, PROVIDES, SOURCE_KEYS
from .views import CLAIM_KEYS, NUMBERS, VIEW_KEYS

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Json = {"type": "string"}
_SCALAR: Json = {"type": ["string", "number", "boolean"]}
_WORDS: Json = {"oneOf": [_TEXT, {"type": "array", "items": _TEXT}]}


def schemas() -> dict[str, Json]:
    """File name → schema: `map.schema.json` for maps, `source.schema.json` for a member's source.yaml."""
    return {"map.schema.json": _map(), "source.schema.json": _source()}


def _closed(keys: frozenset[str], known: dict[str, Json], *, required: tuple[str, ...] = ()) -> Json:
    """An object with these keys and no others; a key without a schema of its own takes anything."""
    made: Json = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: known.get(key, {}) for key in sorted(keys)},
    }
    return made | ({"required": list(required)} if required else {})


def _map() -> Json:
    rule = _closed(
        RULE_KEYS,
        {
            "rule": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
            "each": _WORDS,
            "when": _TEXT,
            "to": _TEXT,
            "awaits": _TEXT,
            "carries": _TEXT,
            "after": _TEXT,
            "before": _TEXT,
            "in_passing": _TEXT,
            "set": _named(),
            "leave": {"type": "object"},
            "clear": {"type": "object"},
            "keep": {"type": "object"},
            "warn": _closed(frozenset({"at", "zh", "en"}), {"zh": _TEXT, "en": _TEXT}),
        },
    )
    known: dict[str, Json] = {
        "format": {"enum": list(FORMATS)},
        "serves": _WORDS,
        "extends": _WORDS,
        "for": _WORDS,
        "source": _TEXT,
        "happened": _WORDS,
        "rules": {"type": "array", "items": rule},
        "remove": {"type": "array", "items": _TEXT},
        "ignore": {
            "type": "array",
            "items": _closed(
                IGNORE_KEYS, {"field": _WORDS, "because": {"type": "string", "minLength": 1}},
                required=("field", "because"),
            ),
        },
    }  # fmt: skip
    return {"$schema": _DRAFT, "title": "mapping", **_closed(MAP_KEYS, known), "$defs": {"value": _value()}}


def _named() -> Json:
    """Element name → value."""
    return {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}}


def _value() -> Json:
    """A constant, a list, a value from the message, or a nested object of elements."""
    nested = {"if": {"required": ["from"]}, "then": _from(), "else": {"type": "object"}}
    return {"oneOf": [_SCALAR, {"type": "array", "items": {"$ref": "#/$defs/value"}}, {"type": "object", **nested}]}


def _from() -> Json:
    """`{from, by, …}`: the function named by `by` decides which further keys there are."""
    always = {"from", "by", "when"}
    by_function = [
        {
            "if": {"properties": {"by": {"const": name}}, "required": ["by"]},
            "then": {"propertyNames": {"enum": sorted(always | set(one.inputs) | set(one.options))}},
        }
        for name, one in sorted(ALL_FUNCTIONS.items())
    ]
    return {"properties": {"by": {"enum": sorted(ALL_FUNCTIONS)}, "when": _TEXT}, "allOf": by_function}


def _source() -> Json:
    one = _closed(
        SOURCE_KEYS,
        {
            "format": {"enum": list(FORMATS)},
            "title": _TEXT,
            "charset": _TEXT,
            "timezone": {"type": "string", "pattern": r"^[+-]\d{2}:\d{2}$"},
            "control_id": {"enum": ["trusted", "untrusted"]},
            "report_mode": {"enum": ["snapshot", "delta"]},
            "queries": {"enum": ["none", "own", "alliance"]},
            "wait_days": {"type": "integer", "minimum": 0},
            "ack": {"enum": ["stored", "processed", "always_aa"]},
            "settings": {"type": "object", "additionalProperties": _SCALAR},
            "view": _view(),
        },
        required=("format",),
    )
    known: dict[str, Json] = {
        "name": _TEXT,
        "short": _TEXT,
        "level": {"enum": list(LEVELS)},
        "provides": {"type": "array", "items": {"enum": sorted(PROVIDES)}},
        "sources": {"type": "object", "additionalProperties": one},
    }
    return {"$schema": _DRAFT, "title": "member", **_closed(MEMBER_KEYS, known, required=("name", "level"))}


def _view() -> Json:
    names: Json = {"oneOf": [*_WORDS["oneOf"], {"type": "object", "additionalProperties": _TEXT}]}
    known: dict[str, Json] = {
        **dict.fromkeys(VIEW_KEYS, _TEXT),
        **{key: {"type": "integer", "minimum": low, "maximum": high} for key, (low, high) in NUMBERS.items()},
        "driver": {"enum": list(DRIVERS)},
        "options": {"type": "object", "additionalProperties": _SCALAR},
        "key": _WORDS,
        "columns": names,
        "claim": _closed(CLAIM_KEYS, dict.fromkeys(CLAIM_KEYS, _SCALAR), required=("column", "taken")),
    }
    return _closed(VIEW_KEYS, known, required=("driver", "database", "name", "key"))
