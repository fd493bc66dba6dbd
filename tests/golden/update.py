"""Write expected.json, unused.json and ack.hl7 anew: `python -m tests.golden.update [source/message/case …]`.

Without names, every case of an HL7 v2 source and every case that has an expected.json already. A golden file
changes only in a commit that says why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fixtures.cases import Case, all_cases
from gateway.commands.maps import as_golden, translated
from gateway.shipped import shipped
from gateway.translate.engine import Mappings
from tests.golden.answers import answers, is_query


def main(names: list[str]) -> None:
    """Write the files of the named cases, or of all."""
    mappings = Mappings.load([shipped("mappings")], check=False)
    cases = all_cases(shipped("fixtures"))
    with TemporaryDirectory() as home:
        given = answers(cases, Path(home))
    for case in cases:
        if case.format == "v2" and _wanted(case, names):
            (case.folder / "ack.hl7").write_text(given[f"{case.source}/{case.name}"], encoding="utf-8")
        if _wanted(case, names) and not is_query(case):
            draft = translated(case, mappings)
            _write(case.folder / "expected.json", as_golden(draft))
            _write(case.folder / "unused.json", [{"place": u.place, "because": u.because} for u in draft.unused])


def _wanted(case: Case, names: list[str]) -> bool:
    if names:
        return any(f"{case.source}/{case.name}".startswith(name) for name in names)
    return case.format == "v2" or (case.folder / "expected.json").exists()


def _write(path: Path, content: object) -> None:
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) == content:
        return  # the order of members alone changes nothing
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
