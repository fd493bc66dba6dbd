"""One decode that checks a resource against R4 and gives what the indexer walks (D19).

The fast path decodes into structs and runs generated checks; whatever it does not pass goes through the collecting
walk, which reports every fault and has the last word. Faults are raised, never returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import ActiveNarrative, Invalid
from ..model.json_fault import JSON_FAULTS, unparseable
from ..model.message import SUBJECT, Draft
from ..model.outcome import Finding
from .collect import Walk
from .definitions import resource_types
from .limits import check_limits, parse
from .narrative import active, is_div
from .shapes import struct
from .walk import walker

_encoder = msgspec.json.Encoder(decimal_format="number")
_NAMED = re.compile(rb'"resourceType"\s*:')
_SUBJECT = f'"{SUBJECT.format("")}'.encode()
_NESTING = frozenset({"Bundle", "Parameters"})  # a resource inside names its type too


class _Head(Struct):
    resourceType: str = ""


_head = msgspec.json.Decoder(_Head)


def decode(resource_type: str, body: bytes) -> Struct:
    """The resource as a struct (`shapes.py`), checked; contained and Bundle resources are structs too.

    Raises Unparseable (no JSON, a key twice, too deep, NUL), Invalid with every fault, ActiveNarrative.
    """
    if resource_type not in resource_types():
        raise Invalid((_unknown_type(),))
    made = _fast(resource_type, body)
    if made is None:
        made = _judged(resource_type, body)
    _check_narrative(made, body)
    return made


def check(resource_type: str, body: bytes) -> tuple[Struct, tuple[Finding, ...]]:
    """`decode`, with the remarks that are no faults (a resource without narrative is none)."""
    made = decode(resource_type, body)
    return made, tuple(_remarks(resource_type, made))


def check_draft(draft: Draft) -> None:
    """All resources a message makes, before anybody knows whose they are. Raises as `check` does.

    A subject is still spelled `Patient/@n`, which is no id: each is read as one that is. What the message presupposes
    is stored says the rest of it; the whole is checked when it is written.
    """
    awaited = {one.ref for one in draft.awaits}
    for record in draft.records:
        check("Patient", _encoder.encode(record.resource))
    for one in draft.resources:
        if f"{one.type}/{one.id}" not in awaited:
            check(one.type, one.body.replace(_SUBJECT, b'"Patient/record-'))


def deep_check(body: bytes) -> tuple[Finding, ...]:
    """What fhir.resources (R4B models) says of a resource: a second opinion for `$validate` and tests.

    Slow (0.2 ms a resource, 0.5 s at the first call). Its models are R4B, so types R4B dropped give a remark.
    """
    from fhir.resources.R4B import get_fhir_model_class
    from pydantic import ValidationError

    kind = _type_of(body)
    try:
        get_fhir_model_class(kind).model_validate_json(body)
    except ValidationError as error:
        return tuple(_deep_finding(kind, e["loc"], e["msg"]) for e in error.errors())
    except KeyError:
        return (Finding("GW-VAL-001", "warning", kind, "二次校验没有此类型", "the second check has no such type"),)
    return ()


def _deep_finding(kind: str, place: tuple[Any, ...], message: str) -> Finding:
    path = kind + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place)
    return Finding("GW-VAL-001", "error", path, "二次校验未通过", message.split("\n")[0])


# ---- fast path ----------------------------------------------------------------------------------
@cache
def _decoder(resource_type: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(struct(resource_type))


def _fast(resource_type: str, body: bytes) -> Struct | None:
    """The struct when everything is in order; None when the collecting walk must look."""
    if resource_type != "Bundle":
        check_limits(body)
    try:
        made: Struct = _decoder(resource_type).decode(body)
    except msgspec.ValidationError:
        return None
    except JSON_FAULTS as fault:
        raise unparseable(body, fault) from None
    if not _same_members(made, body) or not _inner(made):
        return None
    lean = b'xtension"' not in body and b'"_' not in body
    return made if walker(resource_type, lean)(made) else None


def _same_members(made: Struct, body: bytes) -> bool:
    """True when encoding gives back as many quotes: no key twice, no number sent as text, no empty object.

    Exact: decoding can only lose quotes (a key that came twice, a quoted number), and gains none where the body names
    its type and writes no quote as `\\u0022`.
    """
    again = _encoder.encode(made)
    if b"{}" in again or b'{"id":' in again or (b"\\" in body and b"\\u0022" in body):
        return False
    kind = made.__struct_config__.tag
    if _type_of(body) != kind if kind in _NESTING else not _NAMED.search(body):
        return False
    return body.count(b'"') == again.count(b'"')


def _inner(made: Any) -> bool:
    """Decodes the resources inside; False when one is not in order, or is contained and needs a look."""
    if getattr(made, "contained", None) is not None:
        return False
    kind = made.__struct_config__.tag
    if kind == "Bundle":
        return all(_replace(entry, "resource") and _no_outcome(entry) for entry in made.entry or ())
    if kind == "Parameters":
        return all(_parameter(p) for p in made.parameter or ())
    return True


def _no_outcome(entry: Any) -> bool:
    return entry.response is None or _replace(entry.response, "outcome")


def _parameter(parameter: Any) -> bool:
    return _replace(parameter, "resource") and all(_parameter(p) for p in parameter.part or ())


def _replace(owner: Any, attr: str) -> bool:
    raw = getattr(owner, attr)
    if raw is None:
        return True
    body = bytes(raw)
    kind = _type_of(body)
    if kind not in resource_types():
        return False
    made = _fast(kind, body)
    setattr(owner, attr, made)
    return made is not None


def _type_of(body: bytes) -> str:
    try:
        return _head.decode(body).resourceType
    except JSON_FAULTS:
        return ""


# ---- slow path ----------------------------------------------------------------------------------
def _judged(resource_type: str, body: bytes) -> Struct:
    value = parse(body)
    walk = Walk()
    if isinstance(value, dict) and value.get("resourceType") != resource_type:
        walk.fault(f"{resource_type}.resourceType", f"须为 {resource_type}", f"must be {resource_type}")
        raise Invalid(tuple(walk.faults))
    made: Struct | None = walk.resource(value, resource_type)
    if isinstance(value, dict):
        _check_contained(value, resource_type, walk)
    if walk.faults or made is None:
        raise Invalid(tuple(walk.faults))
    return made


def _check_contained(value: dict[str, Any], path: str, walk: Walk) -> None:
    """dom-3, dom-4, dom-5 and ref-1, for the resource and those of a Bundle."""
    for i, entry in enumerate(_list(value.get("entry")) if value.get("resourceType") == "Bundle" else ()):
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            _check_contained(entry["resource"], f"{path}.entry[{i}].resource", walk)
    inner = [c for c in _list(value.get("contained")) if isinstance(c, dict)]
    used = (
        {text for text in _local_references(value) if text != "#"} if value.get("resourceType") != "Bundle" else set()
    )
    ids = {"#" + c["id"] for c in inner if isinstance(c.get("id"), str)}
    for text in sorted(used - ids):
        if not text.startswith("#") or not _is_reference(value, text):
            continue
        walk.fault(path, f"内嵌引用 {text[:65]} 不存在 (ref-1)", f"no contained resource {text[:65]} (ref-1)")
    for i, resource in enumerate(inner):
        _check_one_contained(resource, used, f"{path}.contained[{i}]", walk)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _check_one_contained(resource: dict[str, Any], used: set[str], path: str, walk: Walk) -> None:
    own = resource.get("id")
    if (not isinstance(own, str) or "#" + own not in used) and "#" not in set(_local_references(resource)):
        walk.fault(path, "内嵌资源没有被引用 (dom-3)", "nothing refers to this contained resource (dom-3)")
    meta = resource.get("meta")
    if isinstance(meta, dict) and ("versionId" in meta or "lastUpdated" in meta):
        walk.fault(f"{path}.meta", "内嵌资源不能有版本 (dom-4)", "a contained resource has no version (dom-4)")
    if isinstance(meta, dict) and "security" in meta:
        walk.fault(
            f"{path}.meta", "内嵌资源不能有安全标签 (dom-5)", "a contained resource has no security label (dom-5)"
        )


def _local_references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "div":
                yield from _local_references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _local_references(inner)
    elif isinstance(value, str) and value.startswith("#"):
        yield value


def _is_reference(value: Any, text: str) -> bool:
    if isinstance(value, dict):
        return value.get("reference") == text or any(_is_reference(v, text) for v in value.values())
    return isinstance(value, list) and any(_is_reference(v, text) for v in value)


# ---- narrative ----------------------------------------------------------------------------------
def _check_narrative(made: Any, body: bytes) -> None:
    if b'"div"' not in body:
        return
    for path, div in _divs(made, made.__struct_config__.tag):
        if what := active(div):
            raise ActiveNarrative(path, what)
        if not is_div(div):
            finding = Finding(
                "GW-VAL-001", "error", path, "须为非空的 <div> (txt-1)", "must be one <div> with content (txt-1)"
            )
            raise Invalid((finding,))


def _divs(node: Any, path: str) -> Iterator[tuple[str, str]]:
    for name in node.__struct_fields__:
        inner = getattr(node, name)
        if name == "div" and isinstance(inner, str):
            yield f"{path}.div", inner
        elif isinstance(inner, Struct):
            yield from _divs(inner, f"{path}.{name}")
        elif isinstance(inner, list):
            for i, one in enumerate(inner):
                if isinstance(one, Struct):
                    yield from _divs(one, f"{path}.{name}[{i}]")


def _remarks(resource_type: str, made: Any) -> Iterator[Finding]:
    if getattr(made, "text", "") is None:  # Bundle, Binary and Parameters have no narrative
        yield Finding(
            "GW-VAL-001",
            "information",
            f"{resource_type}.text",
            "没有叙述文本 (dom-6)",
            "there is no narrative (dom-6)",
        )
    if resource_type == "Condition" and made.clinicalStatus is None:
        yield Finding(
            "GW-VAL-001", "warning", "Condition.clinicalStatus", "建议给出临床状态", "clinicalStatus is advised"
        )


def _unknown_type() -> Finding:
    return Finding("GW-VAL-001", "error", "resourceType", "不是 R4 的资源类型", "not a resource type of R4")
