"""Imports point down, parts of one layer do not know each other, each library has one home (design §4)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS: list[set[str]] = [  # lowest first
    {"errors", "model", "settings", "shipped"},
    {"translate", "validate", "recognise"},
    {"store"},
    {"inbox", "identity", "security", "revise"},
    {"pipeline"},
    {"inbound", "outbound", "alliance"},
    {"app", "cli", "config", "shared", "commands"},
]
WITHIN = ({"errors", "model", "settings"}, {"app", "cli", "config", "shared", "commands"})
HOMES = {
    "lxml": {"model/xml.py"},
    "pydicom": {"translate/read_dicom.py", "translate/dicom_bounds.py", "inbound/dicom.py"},
    "apsw": {"store/"},
    "psycopg": {"store/"},  # and by name, as a driver of members' databases: inbound/db_view/drivers.py
    "fhir.resources": {"validate/structure.py", "validate/deep.py"},
    "fastapi": {"app.py"},
    "yaml": {"translate/", "recognise/", "model/"},
    "httpx": {"outbound/dicom_web.py", "shared.py", "commands/"},
}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        yield str(path.relative_to(ROOT / "gateway")), ast.parse(path.read_text(encoding="utf-8"))


def _imports(name: str, tree: ast.Module) -> Iterator[str]:
    package = ["gateway", *name.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, node.module or ""]).rstrip(".")
            yield prefix
            yield from (f"{prefix}.{alias.name}" for alias in node.names if node.level)


def _layer(part: str) -> int:
    return next((number for number, parts in enumerate(LAYERS) if part in parts), -1)


def _part(dotted: str) -> str:
    pieces = dotted.split(".")
    return pieces[1] if len(pieces) > 1 and pieces[0] == "gateway" else ""


@pytest.mark.parametrize(("name", "tree"), [pytest.param(*item, id=item[0]) for item in _modules()])
def test_imports_point_down(name: str, tree: ast.Module) -> None:
    own = name.split("/")[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    assert _layer(own) >= 0, f"{own} belongs to no layer"
    for imported in _imports(name, tree):
        part = _part(imported)
        if not part or part == own or _layer(part) < 0:
            continue
        beside = any(own in group and part in group for group in WITHIN)
        assert beside or _layer(part) < _layer(own), f"{name} imports {imported}"


@pytest.mark.parametrize(("name", "tree"), [pytest.param(*item, id=item[0]) for item in _modules()])
def test_each_library_has_its_home(name: str, tree: ast.Module) -> None:
    for imported in _imports(name, tree):
        for library, homes in HOMES.items():
            if imported == library or imported.startswith(library + "."):
                assert any(name.startswith(home) for home in homes), f"{name} imports {library}"
