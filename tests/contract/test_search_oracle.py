"""What a search must return, told by a slow evaluator without any index (tests/oracle), on every engine.

More of it: `ORACLE_SEEDS=200:210 pytest -m slow -k many_more -rP`, a world for each seed and 1,000 questions about it.
"""

from __future__ import annotations

import os

import pytest

import gateway.store.job as job_module
import gateway.store.links as links_module
import gateway.store.search as search_module
import gateway.store.totals as totals_module
import gateway.store.zones as zones_module
from tests.contract.conftest import Site
from tests.oracle import records
from tests.oracle.trial import Trial, build, disagreement


@pytest.fixture(params=["few", "many"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What serves few rows and what serves many must give the same answers, however long that takes here."""
    monkeypatch.setattr(search_module, "ALONG_S", 600.0)
    monkeypatch.setattr(job_module, "SECONDS", 600.0)
    if request.param == "many":
        monkeypatch.setattr(search_module, "GATHER", 2)
        monkeypatch.setattr(totals_module, "GATHER", 2)
        monkeypatch.setattr(totals_module, "_SAMPLE", 20)
        monkeypatch.setattr(links_module, "FEW", 1)
        monkeypatch.setattr(links_module, "MANY", 2)
        monkeypatch.setattr(links_module, "CHART", 1)
        monkeypatch.setattr(links_module, "PATIENCE", 3)
        monkeypatch.setattr(zones_module, "ROWS", 5)
    return str(request.param)


async def _agree(trial: Trial, pairs: int, way: str) -> None:
    """Ask so many questions; every answer must be the oracle's. Only what stands for many may be found too costly."""
    while await trial.store.survey():
        pass
    faults = [fault for _ in range(pairs) if (fault := await disagreement(trial, *trial.asker.question()))]
    assert not faults, f"{len(faults)} of {pairs} differ:\n" + "\n".join(faults[:40])
    assert trial.costly <= (pairs // 50 if way == "many" else 0)
    print(f"{pairs - trial.costly} agree, {trial.costly} too costly")


async def test_searches_answer_as_the_oracle_says(site: Site, way: str) -> None:
    await _agree(await build(site, len(way), guessing=way == "many"), 250, way)


async def test_whole_records_are_what_the_oracle_says(site: Site) -> None:
    trial = await build(site, 7)
    faults = [fault for _ in range(120) if (fault := await records.disagreement(trial))]
    assert not faults, "\n".join(faults[:20])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(*map(int, os.environ.get("ORACLE_SEEDS", "100:110").split(":"))))
async def test_many_more_searches_answer_as_the_oracle_says(site: Site, way: str, seed: int) -> None:
    await _agree(await build(site, seed, 8 + seed % 5 * 4, guessing=way == "many"), 1_000, way)
