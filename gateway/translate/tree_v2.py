"""HL7 v2 text as a tree: patients, their orders, the results of each order, by the position of segments.

Nothing is assumed of the grammar of a message: a segment belongs to the nearest segment before it that may
hold it. So an OBX after an SPM is still a result, and an NTE belongs to whatever it stands under.
Source: HL7 v2.5.1 chapters 2 and 7; inbound-facts §3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import itemgetter

from .cultures_v2 import Children, Fields, Group, adopt
from .memo import Memo

_ITEM_AND_SUB_ID = itemgetter(3, 4)

_ROOT = "MSH SFT UAC EVN MSA ERR FHS BHS BTS FTS QRD QRF MFI"
_ORDER = "ORC OBR SPM SAC TQ1 TQ2 CTI RXO RXR RXE RXC RXD RXA ODS ZOR PRB GOL PTH MFE STF PRA ORG LOC LDP"
ROOT_SEGMENTS = frozenset(_ROOT.split())
ORDER_SEGMENTS = frozenset(_ORDER.split())  # what may stand below an order, a problem, a master file entry
_OPENERS = frozenset({"OBR", "PRB", "MFE"})  # each is an order (or problem, or entry) of its own
_DRUGS = frozenset({"RXE", "RXD", "RXA"})  # likewise, where no ORC stands before each
_MAY_OPEN = _OPENERS | _DRUGS | {"ORC", "SPM"}
_SPECIMEN_FIRST = re.compile(r"\|OUL\^R2[23]\b|\|OUL\^[^|]*\^OUL_R2[23]\b")
_FREE_TEXT = frozenset({"TX", "FT", "TXT"})
_SEPARATORS = re.compile(r"[!-/:-@\[-`{-~]+")  # what can be seen and is neither letter nor digit
_BETWEEN = [chr(0xFDD0 + place) for place in range(10)]  # noncharacters
_NONCHARACTERS = re.compile(f"[{_BETWEEN[0]}-{_BETWEEN[-1]}]")
_CONTINUED = re.compile(r"\r(?![ \t]*+[A-Z][A-Z0-9]{2}(?:[|\r]|\Z))")
_HEAD = re.compile(r"[A-Z][A-Z0-9]{2}\|?")  # of a segment's line

_SHAPE = bytes(byte if byte in b"|^~\r" else ord("x") for byte in range(256))
_WITHOUT = b" \t" + bytes(range(0x80, 0xC0))  # blanks, and what follows the first byte of a character
_BLANKS = [[""] * count for count in range(100)]


def clean(text: str) -> str:
    """Text with CR between segments, without framing bytes, NULs and a BOM."""
    text = text.replace("\r\n", "\r").replace("\n", "\r")
    while "\r\r" in text:  # an empty line says nothing
        text = text.replace("\r\r", "\r")
    for stray in "\0\x0b\x1c":
        text = text.replace(stray, "")
    return text.strip("\ufeff \t\r")


def standard(text: str) -> str:
    """The message with the separators `|^~\\&`, a segment a line.

    Other separators are exchanged, data that looks like one is escaped. A line that is no segment goes on with the text
    of the line before it: some senders break lines inside a field. Raises ValueError when the first segment is no MSH.
    """
    text = _separated(text)
    heads = {line[:4] for line in text.split("\r")}
    return text if all(map(_OPENS_LINE.__getitem__, heads)) else _CONTINUED.sub(r"\\.br\\", text)


def _separated(text: str) -> str:
    if text.startswith("MSH|^~\\&|"):
        return text
    if len(text) < 8 or text[:3] not in ("MSH", "FHS", "BHS"):
        raise ValueError("the message does not start with MSH")
    bar = text[3]
    marks = text[4 : text.find(bar, 4)] if bar in text[4:] else text[4:8]
    if not _SEPARATORS.fullmatch(bar + marks):
        raise ValueError("MSH-1 and MSH-2 are no separators")
    given = separators(bar, marks)
    if given == "|^~\\&":
        return text
    return "MSH|^~\\&" + _exchanged(text[4 + len(marks) :], _exchange(given))


def _exchanged(text: str, table: Mapping[str, str]) -> str:
    """Each character of the table for what stands for it, all at once: through characters no text may have."""
    if _NONCHARACTERS.search(text):
        return text.translate({ord(char): other for char, other in table.items()})
    for between, char in zip(_BETWEEN, table, strict=False):
        text = text.replace(char, between)
    for between, other in zip(_BETWEEN, table.values(), strict=False):
        text = text.replace(between, other)
    return text


def separators(bar: str, marks: str) -> str:
    """The five separators for MSH-1 and MSH-2; those MSH-2 leaves out are the usual ones."""
    return bar + (marks + "^~\\&"[len(marks) :])[:4]


def _exchange(given: str) -> dict[str, str]:
    """For each character with a meaning, here or in the standard, what stands for it."""
    names = dict(zip("|^~\\&", "FSRET", strict=True))
    table = {standard: f"\\{name}\\" for standard, name in names.items()}
    return table | dict(zip(given, "|^~\\&", strict=True))


_OPENS_LINE = Memo(lambda head: _HEAD.fullmatch(head) is not None)


def _shape(line: bytes) -> bytes:
    """Every run of `x` as one: halved until none is left, which reads the line about twice."""
    while b"xx" in line:
        line = line.replace(b"xx", b"x")
    return line


_SHAPES = Memo(_shape)


def _labels(names: str) -> list[str]:
    """`MSH\rOBX\rOBX` → `MSH[1]`, `OBX[1]`, `OBX[2]`."""
    counts: dict[str, int] = {}
    out = list[str]()
    for name in names.split("\r"):
        counts[name] = counts.get(name, 0) + 1
        out.append(f"{name}[{counts[name]}]")
    return out


_LABELS = Memo(_labels)


class Tree:
    """One message. Made in two steps: the text at once, the segments when a mapping says how wide they must be."""

    __slots__ = (
        "_labels", "_oul", "_shapes", "_specimen_first", "_texts", "children", "merged", "names", "notes", "patients",
        "root", "text", "used",
    )  # fmt: skip

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: list[str] = []  # segment name of every line, once parsed
        self.root: Group = {}
        self.patients: list[Group] = []
        self.notes: dict[int, Fields] = {}
        self.children: Children = {}
        self.merged: list[tuple[int, int]] = []
        self.used: list[int] = []
        self._shapes: list[bytes] | None = None
        self._labels: list[str] | None = None
        self._texts: dict[int, tuple[Fields, int, list[str]]] = {}
        self._oul = self._specimen_first = False

    def shapes(self) -> list[bytes]:
        """Per line which fields, repetitions and components hold anything: `OBX|1|NM|A^B||5` → `x|x|x|x^x||x`."""
        if self._shapes is None:
            text = self.text.encode("utf-8", "surrogatepass").translate(_SHAPE, _WITHOUT)
            self._shapes = [*map(_SHAPES.__getitem__, text.split(b"\r"))]
        return self._shapes

    def place(self, line: int, rest: str) -> str:
        """`OBX[3]-5`: the third OBX of the message."""
        if line < 0:
            return rest.lstrip("-")
        return f"{self.label(line)}{rest}"

    def label(self, line: int) -> str:
        """`OBX[3]` for the third OBX."""
        return self.labels()[line]

    def labels(self) -> list[str]:
        """The labels of all lines."""
        if self._labels is None:
            self._labels = _LABELS["\r".join(self.names)]
        return self._labels

    def parse(self, widths: Mapping[str, int], cultures: Callable[[str], bool]) -> Tree:
        """Segments into groups; each is widened to the fields its mapping reads.

        cultures: of OBR-24, whether isolates of such an order have their antibiograms below them.
        """
        lines, wide = self.text.split("\r"), widths.get
        self.names = [line[:3] for line in lines]
        self.used = [0] * (len(lines) + 1)  # the last is scratch for segments that are not there
        order: Group | None = None
        patient: Group | None = None
        results: list[Fields] | None = None
        self._oul = "|OUL^" in lines[0]
        self._specimen_first = self._oul and bool(_SPECIMEN_FIRST.search(lines[0]))
        owner = 0
        for number, (name, line) in enumerate(zip(self.names, lines, strict=True)):
            fields: Fields = line.split("|")
            if (missing := wide(name, 0) - len(fields)) > 0:
                fields += _BLANKS[missing]
            fields[0] = number
            if name == "OBX":
                if results is None:
                    patient = patient or self._patient()
                    if order is None:
                        patient["orders"].append(order := {})
                    results = order["OBX"] = []
                if not (fields[2] in _FREE_TEXT and results and self._continues(results[-1], fields)):
                    results.append(fields)
                    owner = number
            elif name == "NTE":
                self._note(owner, fields)
            elif name in ORDER_SEGMENTS:
                patient = patient or self._patient()
                if order is None or (name in _MAY_OPEN and self._opens(name, order)):
                    order = self._order(patient, order, name)
                    results = None
                order.setdefault(name, []).append(fields)
                owner = number
            else:
                owner = number
                patient, order, results = self._outside(name, fields, patient, order, results)
        for first, at, texts in self._texts.values():
            first[at] = "\\.br\\".join(texts)
        self.children = adopt(self.patients, cultures)
        self._tell_apart()
        return self

    def _outside(
        self, name: str, fields: Fields, patient: Group | None, order: Group | None, results: list[Fields] | None
    ) -> tuple[Group | None, Group | None, list[Fields] | None]:
        """A segment of the message or of a patient; gives the groups now open."""
        if name == "PID":
            if patient is None or order or "PID" in patient:  # else: SCH, RF1 and PRD stand before their patient
                patient = self._patient()
            patient["PID"] = [fields]
            return patient, None, None
        if name in ROOT_SEGMENTS:
            if name == "MSH":
                fields.insert(1, "|")
            self.root.setdefault(name, []).append(fields)
        elif name.strip():
            patient = patient or self._patient()
            patient.setdefault(name, []).append(fields)
        return patient, order, results

    def _opens(self, name: str, order: Group) -> bool:
        """True for a segment that begins an order of its own.

        In OUL an ORC follows its OBR, and in OUL^R22 and R23 a specimen stands above its orders (§7.3.7).
        """
        if name == "ORC":
            return bool(order) and not (self._oul and "OBR" in order and "ORC" not in order)
        if name == "SPM":
            return self._specimen_first and "OBR" in order
        return name in order and (name in _OPENERS or "ORC" not in order)

    def _order(self, patient: Group, before: Group | None, name: str) -> Group:
        made: Group = {}
        if self._specimen_first and name == "OBR" and before is not None:
            made |= {same: before[same] for same in ("SPM", "SAC") if same in before}
        patient["orders"].append(made)
        return made

    def _patient(self) -> Group:
        made: Group = {"orders": []}
        self.patients.append(made)
        return made

    def _continues(self, before: Fields, fields: Fields) -> bool:
        """Consecutive free-text rows of one item are one text of several lines; one of another status stands alone."""
        if before[2:5] != fields[2:5] or _status_of(fields) not in ("", _status_of(before)):
            return False
        self._longer(before, 5, fields)
        return True

    def _longer(self, first: Fields, at: int, fields: Fields) -> None:
        """One more line of the text in a field of `first`; the lines are joined when all are there."""
        self._texts.setdefault(first[0], (first, at, [first[at]]))[2].append(fields[at])
        self.merged.append((fields[0], first[0]))

    def _note(self, owner: int, fields: Fields) -> None:
        first = self.notes.get(owner)
        if first is None:
            self.notes[owner] = fields
        elif len(fields) > 3 and len(first) > 3:
            self._longer(first, 3, fields)

    def _tell_apart(self) -> None:
        """Rows of one order with the same item and sub-id: the second gets sub-id `#2`, so that none hides another."""
        for patient in self.patients:
            for order in patient["orders"]:
                rows = order.get("OBX", ())
                if len(rows) > 1 and len(set(map(_ITEM_AND_SUB_ID, rows))) < len(rows):
                    times: dict[tuple[str, str], int] = {}
                    for row in rows:
                        key = row[3], row[4]
                        times[key] = times.get(key, 0) + 1
                        if times[key] > 1:
                            row[4] = f"{row[4]}#{times[key]}"


def _status_of(obx: Fields) -> str:
    return str(obx[11]) if len(obx) > 11 else ""
