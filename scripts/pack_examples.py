"""Pack the official R4 examples into `tests/examples/r4.ndjson.zst`, one resource a line, digits as published.

Input: the CC0 npm package `hl7.fhir.r4.examples@4.0.1`, fetched with `npm pack` unless `--package` names it.
Left out: resources above 300 KB, and of the definition types all but the first five of each.

    python scripts/pack_examples.py [--package FILE.tgz]
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
from pathlib import Path

import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts.build_definitions import fetched, members

TARGET = Path(__file__).resolve().parent.parent / "tests" / "examples" / "r4.ndjson.zst"
MOST_BYTES, OF_DEFINITIONS = 300_000, 5
_KINDS = """
StructureDefinition ValueSet CodeSystem SearchParameter ConceptMap OperationDefinition CompartmentDefinition
ImplementationGuide NamingSystem
"""
DEFINITIONS = frozenset(_KINDS.split())


def chosen(package: Path) -> list[bytes]:
    """The resources to pack, each on one line: a line break in JSON never lies within a string."""
    seen: collections.Counter[str] = collections.Counter()
    lines = []
    for _, body in members(package):
        kind = json.loads(body).get("resourceType", "")
        if not kind or len(body) > MOST_BYTES or (kind in DEFINITIONS and seen[kind] >= OF_DEFINITIONS):
            continue
        seen[kind] += 1
        lines.append(re.sub(rb"\s*\n\s*", b"", body.strip()))
    return lines


def write(package: Path) -> int:
    """The pack of a package; how many resources it holds."""
    lines = chosen(package)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(zstandard.ZstdCompressor(level=19).compress(b"\n".join(lines)))
    print(f"{len(lines)} resources, {TARGET.stat().st_size} bytes")
    return len(lines)


def main() -> None:
    """Write the pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path)
    given = parser.parse_args().package
    if given:
        write(given)
    else:
        fetched(write)


if __name__ == "__main__":
    main()
