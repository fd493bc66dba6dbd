"""Turn the official R4 definitions into the compact tables under `gateway/validate/tables/`.

Input: the CC0 npm package `hl7.fhir.r4.examples@4.0.1` (unpatched FHIR R4: StructureDefinitions, ValueSets,
SearchParameters, CompartmentDefinitions, examples). Without `--package` it is fetched with `npm pack`.

    python scripts/build_definitions.py [--package FILE.tgz]     writes the tables
    python scripts/build_definitions.py --check [--package …]    validates and indexes every example instead
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PACKAGE = "hl7.fhir.r4.examples@4.0.1"
TABLES = Path(__file__).resolve().parent.parent / "gateway" / "validate" / "tables"
SYSTEM_TYPES = {"String": "string", "Boolean": "boolean", "Integer": "integer", "Decimal": "decimal"}
OPEN_SYSTEMS = {"urn:iso:std:iso:4217", "urn:ietf:bcp:13", "http://unitsofmeasure.org", "http://loinc.org"}
Json = dict[str, Any]


def members(package: Path) -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of every JSON resource of the package."""
    with tarfile.open(package) as tar:
        for entry in tar:
            name = Path(entry.name).name
            if entry.isfile() and name.endswith(".json") and "-" in name:
                file = tar.extractfile(entry)
                assert file is not None
                yield name, file.read()


def read(package: Path) -> dict[str, list[Json]]:
    """Definitions by resource type."""
    wanted = {"StructureDefinition", "ValueSet", "CodeSystem", "SearchParameter", "CompartmentDefinition"}
    found: dict[str, list[Json]] = collections.defaultdict(list)
    for name, body in members(package):
        kind = name.split("-")[0]
        if kind in wanted:
            found[kind].append(json.loads(body))
    return found


# ---- elements -----------------------------------------------------------------------------------
def base_types(definitions: list[Json]) -> dict[str, Json]:
    """The types and resources of R4 themselves, without profiles and logical models."""
    return {
        d["name"]: d
        for d in definitions
        if d.get("derivation") != "constraint" and d["kind"] in ("complex-type", "resource")
    }


def elements(definition: Json) -> dict[str, list[list[Any]]]:
    """Per path with children: rows [name, min, is list, [types], value set or ""]."""
    paths: dict[str, list[list[Any]]] = {definition["name"]: []}
    for element in definition["snapshot"]["element"][1:]:
        owner, _, name = element["path"].rpartition(".")
        row = [name, element["min"], int(element["max"] != "1"), element_types(element), required_binding(element)]
        paths.setdefault(owner, []).append(row)
    return paths


def element_types(element: Json) -> list[str]:
    """`CodeableConcept`, `Reference(Patient|Group)`, or the path of an own backbone or content reference."""
    if "contentReference" in element:
        return [element["contentReference"].lstrip("#")]
    return [one_type(element["path"], t) for t in element["type"]]


def one_type(path: str, type_: Json) -> str:
    code = str(type_["code"])
    if code.startswith("http://hl7.org/fhirpath/"):
        if path == "Extension.url":
            return "uri"
        is_resource_id = path.count(".") == 1 and path.endswith(".id") and path[0].isupper()
        return "id" if is_resource_id else SYSTEM_TYPES.get(code.rpartition(".")[2], "string")
    if code in ("BackboneElement", "Element"):
        return path
    if code == "Reference":
        targets = sorted(url.rpartition("/")[2] for url in type_.get("targetProfile", []))
        return "Reference" if not targets or "Resource" in targets else f"Reference({'|'.join(targets)})"
    return code


def required_binding(element: Json) -> str:
    binding = element.get("binding", {})
    return str(binding.get("valueSet", "")).split("|")[0] if binding.get("strength") == "required" else ""


def fix_ids(types: dict[str, list[list[Any]]], resources: set[str]) -> None:
    """Only a resource's own `id` is a FHIR id; the `id` of a data type or backbone is a string."""
    for path, rows in types.items():
        for row in rows:
            if row[0] == "id":
                row[3] = ["id"] if path in resources else ["string"]


# ---- value sets ---------------------------------------------------------------------------------
class Terms:
    """Expands value sets that are lists or whole code systems."""

    def __init__(self, value_sets: list[Json], code_systems: list[Json]) -> None:
        self.sets = {v["url"]: v for v in value_sets}
        self.systems = {c["url"]: c for c in code_systems}

    def expand(self, url: str) -> dict[str, list[str]] | None:
        """Codes by system; None when the set is open (currencies, media types, UCUM, LOINC lists)."""
        definition = self.sets.get(url)
        if definition is None:
            return None
        found: dict[str, set[str]] = collections.defaultdict(set)
        for include in definition["compose"]["include"]:
            if include.get("system") in OPEN_SYSTEMS and "concept" not in include:
                return None
            if not self._include(include, found):
                return None
        return {system: sorted(codes) for system, codes in sorted(found.items())}

    def _include(self, include: Json, found: dict[str, set[str]]) -> bool:
        for url in include.get("valueSet", []):
            inner = self.expand(url.split("|")[0])
            if inner is None:
                return False
            for system, codes in inner.items():
                found[system].update(codes)
        if "system" in include:
            found[include["system"]].update(self._codes(include))
        return True

    def _codes(self, include: Json) -> set[str]:
        if "concept" in include:
            return {c["code"] for c in include["concept"]}
        tree = self.systems[include["system"]].get("concept", [])
        kept = _flat(tree, ())
        for rule in include.get("filter", []):
            kept = [(code, above) for code, above in kept if _passes(rule, code, above)]
        return {code for code, _ in kept}


def _flat(concepts: list[Json], above: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    out: list[tuple[str, tuple[str, ...]]] = []
    for concept in concepts:
        parents = above + _parents(concept)
        out.append((concept["code"], parents))
        out += _flat(concept.get("concept", []), (*parents, concept["code"]))
    return out


def _parents(concept: Json) -> tuple[str, ...]:
    return tuple(p["valueCode"] for p in concept.get("property", []) if p.get("code") == "subsumedBy")


def _passes(rule: Json, code: str, above: tuple[str, ...]) -> bool:
    if rule["property"] == "concept" and rule["op"] in ("is-a", "descendent-of"):
        return rule["value"] in above or (rule["op"] == "is-a" and rule["value"] == code)
    if rule["op"] == "is-not-a":
        return rule["value"] != code and rule["value"] not in above
    raise SystemExit(f"no rule for filter {rule}")


# ---- search -------------------------------------------------------------------------------------
def search_parameters(definitions: list[Json], resources: set[str]) -> list[list[Any]]:
    """Rows [code, [bases], type, expression, [targets], [[code, expression] of each part of a composite], url].

    Of the url what stands behind `http://hl7.org/fhir/SearchParameter/`.

    Examples and profiles' extras are left out.
    """
    rows = []
    codes = {d["url"]: d["code"] for d in definitions}
    for d in definitions:
        bases = sorted(set(d.get("base", [])) & (resources | {"Resource", "DomainResource"}))
        parts = [[codes[part["definition"]], part["expression"]] for part in d.get("component", [])]
        if bases and not d["url"].startswith("http://example"):
            url = d["url"].rpartition("/")[2]
            rows.append([d["code"], bases, d["type"], d.get("expression", ""), sorted(d.get("target", [])), parts, url])
    return sorted(rows, key=lambda row: (row[0], row[1]))


def summaries(base: dict[str, Json]) -> dict[str, list[str]]:
    """Per path with children the elements that `_summary=true` keeps."""
    found: dict[str, list[str]] = {}
    for definition in base.values():
        for element in definition["snapshot"]["element"][1:]:
            owner, _, name = element["path"].rpartition(".")
            if element.get("isSummary"):
                found.setdefault(owner, []).append(name)
    return dict(sorted(found.items()))


def compartments(definitions: list[Json]) -> dict[str, dict[str, list[str]]]:
    """Patient and Encounter: per resource type the parameters that put it inside."""
    return {
        d["code"]: {r["code"]: r["param"] for r in d["resource"] if r.get("param")}
        for d in definitions
        if d["code"] in ("Patient", "Encounter") and d["id"] in ("patient", "encounter")
    }


def invariants(definitions: dict[str, Json]) -> dict[str, list[Any]]:
    """key → [severity, FHIRPath, paths where it is declared]."""
    found: dict[str, list[Any]] = {}
    for definition in definitions.values():
        for element in definition["snapshot"]["element"]:
            for rule in element.get("constraint", []):
                row = found.setdefault(rule["key"], [rule["severity"], rule.get("expression", ""), []])
                if rule["key"] not in ("ele-1", "ext-1") and not rule["key"].startswith("dom-"):
                    row[2].append(element["path"])
    return dict(sorted(found.items()))


# ---- writing ------------------------------------------------------------------------------------
def build(package: Path) -> None:
    """Write all tables."""
    found = read(package)
    base = base_types(found["StructureDefinition"])
    resources = {n for n, d in base.items() if d["kind"] == "resource" and not d["abstract"]}
    types: dict[str, list[list[Any]]] = {}
    for name in sorted(base):
        types.update(elements(base[name]))
    fix_ids(types, resources | {"Resource", "DomainResource"})
    terms = Terms(found["ValueSet"], found["CodeSystem"])
    urls = sorted({row[4] for rows in types.values() for row in rows if row[4]})
    codes = {url: expanded for url in urls if (expanded := terms.expand(url)) is not None}
    write("elements", {"resources": sorted(resources), "types": types})
    write("codes", codes)
    write("search", {"parameters": search_parameters(found["SearchParameter"], resources)})
    write("summary", summaries(base))
    write("compartments", compartments(found["CompartmentDefinition"]))
    write("invariants", invariants(base))


def write(name: str, table: dict[str, Any]) -> None:
    """One line an entry, so that a change of the source shows in a diff."""
    lines = [f"{json.dumps(k)}:{lines_of(v)}" for k, v in table.items()]
    path = TABLES / f"{name}.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{path.name}: {len(table)} entries, {path.stat().st_size // 1024} KB", file=sys.stderr)


def lines_of(value: Any) -> str:
    if isinstance(value, dict) and len(value) > 40:
        return "{\n" + ",\n".join(f"{json.dumps(k)}:{compact(v)}" for k, v in value.items()) + "\n}"
    if isinstance(value, list) and len(value) > 500:
        return "[\n" + ",\n".join(compact(v) for v in value) + "\n]"
    return compact(value)


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---- examples -----------------------------------------------------------------------------------
def check(package: Path, show: int) -> int:
    """Decode and index every example; prints counts, the refused ones and the time used."""
    from gateway.errors import GatewayError
    from gateway.store.index import extract
    from gateway.validate.structure import decode

    passed, refused, spent = 0, [], 0.0
    for name, body in members(package):
        kind = json.loads(body).get("resourceType", "")
        start = time.perf_counter()
        try:
            extract(kind, decode(kind, body), "example")
            passed += 1
        except GatewayError as error:
            refused.append((name, reasons(error)))
        spent += time.perf_counter() - start
    for name, why in refused[:show]:
        print(f"refused {name}: {why}")
    print(f"{passed} accepted, {len(refused)} refused, {spent:.1f} s")
    return 0


def reasons(error: Any) -> str:
    found = getattr(error, "findings", ())
    return "; ".join(f"{f.place} {f.en}" for f in found[:4]) or str(error)


def fetched(run: Callable[[Path], int]) -> int:
    """Run on a freshly packed copy."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, capture_output=True, text=True
        )
        return run(Path(folder) / done.stdout.strip().splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--show", type=int, default=40)
    args = parser.parse_args()

    def run(package: Path) -> int:
        if args.check:
            return check(package, args.show)
        build(package)
        return 0

    return run(args.package) if args.package else fetched(run)


if __name__ == "__main__":
    raise SystemExit(main())
