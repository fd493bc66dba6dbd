"""Microbiology in HL7 v2: which results of a culture are isolates, and which drugs were tested on each.

A sender tells it in one of three ways: the antibiogram is an order of its own whose OBR-26 names the isolate; each
drug has the sub-id of its isolate (OBX-4 `1`, or `1.1`, `1.2`); or the drugs simply follow their isolate.
Source: HL7 v2.5.1 §7.4.1.26 (OBR-26), §7.4.2.4 (OBX-4), §7.4.2.8 (OBX-8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from .functions_v2 import part

Fields = list[Any]  # [number of the line, field 1, field 2, …], all text but the first
Group = dict[str, Any]  # segment name → list of Fields; "orders" → list of Group
Children = dict[int, list[Group]]  # line of an isolate → the orders below it

_NOBODY = ("", "\r")  # the parent of an order that names none
_CODED = frozenset({"CE", "CWE"})
_MEASURED = frozenset({"NM", "SN", "NR", "NUM"})
_SIR = "S I R SDD NS MS VS 敏感 中介 耐药 敏 中 耐 中敏 高敏 低敏 非敏感"
_VERDICTS = frozenset(_SIR.split())
_ISOLATE = re.compile("菌名|菌种|细菌|真菌|病原|微生物|鉴定|培养结果|分离")
_NOTHING = re.compile("无.{0,8}生长|未.{0,6}(?:检出|生长|培养|分离|见)|阴性$|无菌|正常菌群")


def adopt(patients: Iterable[Group], cultures: Callable[[str], bool]) -> Children:
    """Drugs moved below their isolate, out of the orders of the patients.

    cultures: of OBR-24, whether isolates of such an order have their antibiograms below them. An isolate that has
    drugs is coded (`CWE`) from here on, whatever type its sender gave the name.
    """
    children: Children = {}
    for patient in patients:
        if any(map(_names_parent, patient["orders"])):
            _adopt_orders(patient, cultures, children)
        for order in patient["orders"]:
            if "OBX" in order and _is_culture(order, cultures):
                _adopt_rows(order, children)
    return children


def _is_culture(order: Group, cultures: Callable[[str], bool]) -> bool:
    obr = _obr(order)
    return len(obr) > 24 and cultures(part(obr[24], 1))


def _obr(order: Group) -> Fields:
    return order["OBR"][0] if "OBR" in order else []


# ---- antibiograms that are orders of their own --------------------------------------------------
def _names_parent(order: Group) -> bool:
    obr = _obr(order)
    return len(obr) > 26 and bool(obr[26])


def _adopt_orders(patient: Group, cultures: Callable[[str], bool], children: Children) -> None:
    """Orders whose OBR-26 names an isolate of an earlier order move below it; others, reflex tests, stay orders."""
    stay: list[Group] = []
    results: dict[tuple[str, str], Fields] = {}  # (item, sub-id or "" for any) → its latest result
    for order in patient["orders"]:
        parent = results.get(_parent_of(order))
        if parent is not None:
            _below(parent, order, children)
            continue
        stay.append(order)
        rows = order.get("OBX", ()) if _is_culture(order, cultures) else ()
        for obx in reversed([row for row in rows if row[2] not in _MEASURED]):  # the first of an order counts
            item = part(obx[3], 1)
            results[item, obx[4]] = results[item, ""] = obx
    patient["orders"] = stay


def _parent_of(order: Group) -> tuple[str, str]:
    """Item and sub-id of OBR-26: parent's OBX-3 as subcomponents, its OBX-4, first text of its OBX-5."""
    obr = _obr(order)
    if not _names_parent(order):
        return _NOBODY
    return obr[26].partition("^")[0].partition("&")[0], part(obr[26], 2)


def _below(isolate: Fields, order: Group, children: Children) -> None:
    children.setdefault(isolate[0], []).append(order)
    if isolate[2] not in _CODED:
        isolate[2] = "CWE"


# ---- antibiograms among the rows of the culture -------------------------------------------------
def _adopt_rows(order: Group, children: Children) -> None:
    """Drugs that stand among the rows; where it is not plain whose they are, they stay."""
    rows: list[Fields] = order["OBX"]
    drugs = {row[0] for row in rows if _has_verdict(row)}
    isolates = _isolates([row for row in rows if row[0] not in drugs]) if drugs else []
    parents = _by_sub_id(rows, drugs, isolates) or _by_place(rows, drugs, isolates)
    if not parents:
        return
    order["OBX"] = [row for row in rows if row[0] not in parents]
    for isolate in isolates:
        if mine := [row for row in rows if parents.get(row[0]) is isolate]:
            _below(isolate, {"OBX": mine}, children)


def _has_verdict(row: Fields) -> bool:
    return len(row) > 8 and bool(row[8]) and (part(row[8], 1) or part(row[8], 2)).upper() in _VERDICTS


def _isolates(rows: list[Fields]) -> list[Fields]:
    """Rows whose item says that they name what grew; where none does, the coded ones."""
    named = [row for row in rows if row[2] not in _MEASURED and _ISOLATE.search(part(row[3], 2) or part(row[3], 1))]
    found = named or [row for row in rows if row[2] in _CODED]
    return [row for row in found if not _NOTHING.search(part(row[5], 2) or part(row[5], 1))]


def _by_sub_id(rows: list[Fields], drugs: set[int], isolates: list[Fields]) -> dict[int, Fields]:
    """Line of each drug → the isolate of its sub-id; nothing where one drug's names none, or two isolates share one."""
    known = {row[4]: row for row in isolates if row[4]}
    if len(known) < len(isolates):
        return {}
    found = {row[0]: known.get(row[4].partition(".")[0]) for row in rows if row[0] in drugs or _is_part(row, known)}
    return {line: parent for line, parent in found.items() if parent is not None} if all(found.values()) else {}


def _is_part(row: Fields, known: dict[str, Fields]) -> bool:
    head, dot, _ = row[4].partition(".")
    return bool(dot) and head in known and row[2] in _MEASURED


def _by_place(rows: list[Fields], drugs: set[int], isolates: list[Fields]) -> dict[int, Fields]:
    """Line of each drug → the isolate before it; nothing where two isolates stand together or a drug comes first."""
    found: dict[int, Fields] = {}
    lines = {row[0] for row in isolates}
    last: Fields | None = None
    for row in rows:
        if row[0] in lines:
            if last is not None and not any(parent is last for parent in found.values()):
                return {}
            last = row
        elif row[0] in drugs:
            if last is None:
                return {}
            found[row[0]] = last
    return found
