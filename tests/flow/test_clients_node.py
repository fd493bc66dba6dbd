"""fhir-kit-client (npm), unmodified, against a running gateway on loopback.

Node comes from PATH (`make test` installs Debian's package where it may); the client, pinned by its lock file, is kept
in the user's cache. Without Node the test is skipped, which CI refuses.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.model.resource import Json, loads
from tests.flow.alliance import TOKENS, Alliance, start_alliance

CLIENTS = Path(__file__).parents[1] / "clients"
PINNED = ("package.json", "package-lock.json")


@pytest.fixture(scope="module")
def modules() -> Path:
    """The folder the client is installed in: as the lock file says, once a machine."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    digest = hashlib.sha256(b"".join((CLIENTS / name).read_bytes() for name in PINNED)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alliance-gateway" / f"npm-{digest}"
    if not (cache / "installed").exists():
        cache.mkdir(parents=True, exist_ok=True)
        for name in PINNED:
            shutil.copy(CLIENTS / name, cache)
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=cache, check=True, timeout=180, capture_output=True)
        (cache / "installed").touch()
    return cache / "node_modules"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alliance]:
    """The twelve residents in a store of this test's own: the script writes."""
    made, _ = start_alliance(tmp_path_factory.mktemp("clients"))
    yield made
    made.close()


def test_fhir_kit_client_does_what_its_manual_shows(loaded: Alliance, modules: Path) -> None:
    environment = {"GATEWAY": f"{loaded.url}/fhir", "TOKEN": TOKENS["admin"], "NODE_PATH": str(modules)}
    done = subprocess.run(
        ["node", str(CLIENTS / "fhir_kit_client.cjs")],
        env=os.environ | environment, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    told: Json = loads(done.stdout)
    assert (told["fhir"], told["name"]) == ("4.0.1", "张珅")
    observations = {one["id"] for one in loaded.found("Observation", status="final")}
    assert told["pages"] > 1 and sorted(told["ids"]) == sorted(observations)
    assert told["everything"] > told["last"] > 1 and told["first"] == "Patient"
    theirs = loaded.found("Observation", patient=f"Patient/{loaded.found('Patient', name='zhangshen')[0]['id']}")
    assert told["within"] == len(theirs) > 1
    assert set(told["types"]) <= {"Patient", "Organization"}
    written = told["written"]
    assert written["created"] == [201, 200, True]
    assert (written["updated"], written["patched"], written["first"]) == ("二院", "四院", "一院")
    assert written["versions"] == ["3", "2", "1"]
    assert (written["stale"]["status"], written["gone"]["status"]) == (412, 410)
    assert told["transacted"] == {"statuses": ["201", "201"], "organization": "卫生院", "found": 1}
    assert (told["wrong"]["status"], told["missing"]["status"]) == (400, 404)
    for refused in (written["stale"], written["gone"], told["wrong"], told["missing"]):
        assert refused["type"] == "OperationOutcome" and refused["text"]
