"""What one CDA value says as text: an interval, a narrative. Source: HL7 CDA R2 (IVL_PQ, StrucDoc.Text)."""

from __future__ import annotations

from ..model.xml import Node

_LINES = frozenset({"paragraph", "table", "tr", "list", "item", "caption", "br"})
_CELLS = frozenset({"td", "th"})
_SHORT = 3


def interval(value: Node) -> tuple[str, str]:
    """(text as a laboratory prints it, unit) of an IVL: `3.5-5.3`, `>1000` where 1000 is not inside; "" for any other.

    Bounds in two units are printed with them, so that nobody takes the one for the other.
    """
    low, high = _bound(value, "low"), _bound(value, "high")
    unit = low[1] or high[1]
    if low[0] and high[0]:
        if low[1] != high[1]:
            return f"{low[0]} {low[1]}-{high[0]} {high[1]}", ""
        return f"{low[0]}-{high[0]}", unit
    if low[0]:
        return f"{'>' if low[2] else '>='}{low[0]}", unit
    return (f"{'<' if high[2] else '<='}{high[0]}", unit) if high[0] else ("", "")


def _bound(value: Node, name: str) -> tuple[str, str, bool]:
    """(number, unit, whether it lies outside)."""
    node = value.child(name)
    if node is None:
        return "", "", False
    attrs = node.attrs
    return attrs.get("value", "").strip(), attrs.get("unit", "").strip(), attrs.get("inclusive") == "false"


def prose(text: Node) -> str:
    """Narrative as lines: rows, items, paragraphs and breaks each on one of their own, cells of a row apart."""
    lines = (" ".join(line.split(" ")).strip(" |") for line in _flowing(text).splitlines())
    return "\n".join(line for line in lines if line.strip())


def _flowing(node: Node) -> str:
    inner = node.text + "".join(_flowing(child) + child.tail for child in node.children)
    if node.name in _CELLS:
        return f"{inner.strip()} | "
    return f"\n{inner}\n" if node.name in _LINES else inner


def lacking(narrative: str, lines: list[tuple[str, str]]) -> list[str]:
    """`label：value` of the facts a narrative does not tell; a value of a letter or two may stand there by chance."""
    told = "".join(narrative.split())
    return [
        f"{label}：{value}"
        for label, value in lines
        if value and ((plain := "".join(value.split())) not in told or len(plain) < _SHORT)
    ]
