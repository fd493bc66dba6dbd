"""Drug classes for allergy conflicts: which drug names and allergen words stand for the same class.

`profiles/codesystem/drug-classes.csv`, columns `name,class`: a drug, a class or a word people use for it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError
from .medication import drug_name

DrugClasses = Mapping[str, tuple[str, ...]]
"""Drug, class or allergen name (after `drug_name`) → the classes it belongs to (阿莫西林 → 青霉素类)."""

_SHORTEST_PREFIX = 3


def load(path: Path) -> DrugClasses:
    """The table. Raises ConfigError with file:line for a missing column, an empty cell or a repeated row."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    reader = csv.reader(lines)
    if next(reader, None) != ["name", "class"]:
        raise ConfigError(f"{path}:1", "the header must be name,class")
    for number, row in enumerate(reader, start=2):
        if len(row) != 2 or not all(cell.strip() for cell in row):
            raise ConfigError(f"{path}:{number}", "a row is a name and a class")
        name, group = drug_name(row[0]), row[1].strip()
        if group in found.get(name, ()):
            raise ConfigError(f"{path}:{number}", f"{row[0]} stands under {group} already")
        found[name] = (*found.get(name, ()), group)
    return found


def classes_of(name: str, classes: DrugClasses) -> frozenset[str]:
    """Classes of a drug or allergen; a compound is found by the listed name it begins with (阿莫西林克拉维酸钾)."""
    bare = drug_name(name)
    if bare in classes:
        return frozenset(classes[bare])
    known = [key for key in classes if len(key) >= _SHORTEST_PREFIX and bare.startswith(key)]
    return frozenset(classes[max(known, key=len)]) if known else frozenset()


def allergens(text: str) -> tuple[str, ...]:
    """Single allergens of a free text: `对青霉素、头孢过敏` → 青霉素, 头孢; 对乙酰氨基酚 keeps its 对."""
    words = re.split(r"[、，,;；/和及\s]+", text)
    bare = (re.sub(r"^对(?!乙酰|氨基|苯|比剂)|(类药物|药物|制剂)?(过敏史?|皮试阳性)?$", "", word) for word in words)
    return tuple(dict.fromkeys(word for word in bare if word))
