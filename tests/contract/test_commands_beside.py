"""`gateway inbox` and `gateway map` beside a running gateway, the same on both engines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.cli import main
from gateway.settings import General, Http, Mllp, Settings, StoreUrl
from tests.flow.alliance import clock_from

_SOURCE = "name: 区医院\nlevel: secondary\nsources:\n  qu: {format: v2, settings: {msh3: QLIS, msh4: QYY}}\n"
_MAP = """extends: _base/v2/oru_r01
serves: [ORU^R01]
rules:
  - rule: patient
    set: {deceasedDateTime: {from: ZPI-4, by: dateTime}}
"""
Run = Callable[..., Coroutine[Any, Any, list[dict[str, Any]]]]


def report(number: int, died: str = "", code: str = "Q1") -> bytes:
    lines = [
        f"MSH|^~\\&|QLIS|QYY|G|A|20260301083000||ORU^R01|{number}|P|2.4",
        f"PID|1||P{number}",
        f"ZPI||||{died}|x",
        f"OBR|1||R{number}|X^x|||20260301080000",
        f"OBX|1|NM|{code}^院内项目||5|mmol/L||||F",
    ]
    return ("\r".join(lines) + "\r").encode()


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """The folder a hospital's engineer works on."""
    folder = tmp_path / "maps"
    (folder / "qu").mkdir(parents=True)
    (folder / "qu/source.yaml").write_text(_SOURCE, encoding="utf-8")
    (folder / "qu/oru_r01.yaml").write_text(_MAP, encoding="utf-8")
    return folder


@pytest_asyncio.fixture
async def gateway(url: str, tmp_path: Path, maps: Path) -> AsyncIterator[Gateway]:
    home = tmp_path / "store"  # where `url` is, on SQLite
    settings = Settings(
        gateway=General(home=str(home), mappings=str(maps)), http=Http(port=0), mllp=Mllp(port=0),
        store=StoreUrl("" if url.startswith("sqlite") else url),
    )  # fmt: skip
    made = await Gateway.open(settings, clock=clock_from(ANCHOR))
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def run(gateway: Gateway, url: str, tmp_path: Path, maps: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command with the running gateway's settings file; its JSON lines."""
    config = tmp_path / "gateway.toml"
    store = "" if url.startswith("sqlite") else f'[store]\nurl = "{url}"\n'
    text = f'[gateway]\nhome = "{tmp_path / "store"}"\nmappings = "{maps}"\n{store}[[keep]]\ndays = 60\n'
    config.write_text(text, encoding="utf-8")

    async def once(*words: str, code: int = 0) -> list[dict[str, Any]]:
        capsys.readouterr()
        said = await asyncio.to_thread(main, [*words, "--config", str(config), "--json"])
        out = capsys.readouterr()
        once.said = [out.err]  # type: ignore[attr-defined]
        assert said == code, out.err
        return [json.loads(line) for line in out.out.splitlines()]

    return once


async def told(gateway: Gateway, *bodies: bytes) -> None:
    for body in bodies:
        assert b"MSA|AA|" in (await gateway.intake.v2(body)).ack
    await gateway.worker.drained()


async def test_what_failed_under_a_version_is_driven_again_after_the_fix(
    gateway: Gateway, run: Run, maps: Path
) -> None:
    await told(gateway, report(1), report(2, died="20261399"), report(3, died="gestern"))
    (group,) = await run("inbox", "groups")
    assert (group["count"], group["code"], group["place"]) == (2, "GW-TRN-004", "ZPI-4")
    (version,) = group["mappings"]
    listed = await run("inbox", "list", "--state", "processed", "--mapping-version", version)
    assert [one["key"] for one in listed] == ["m1"], "what it could process bears the same version"
    (maps / "qu/oru_r01.yaml").write_text(_MAP.replace("from: ZPI-4", "from: ZPI-6"), encoding="utf-8")
    assert (await gateway.proof.attempt(switch=True)).switched
    await told(gateway, report(4).replace(b"|x\r", b"||never\r"))
    assert len(await run("inbox", "groups")) == 2
    assert await run("inbox", "replay", "--mapping-version", version) == [{"asked": 2, "replayed": 2}]
    await gateway.worker.drained()
    left = await run("inbox", "list", "--state", "quarantined")
    assert [one["key"] for one in left] == ["m4"], "what failed under the new version was left alone"
    (shown,) = await run("inbox", "show", "m4")
    assert shown["outcome"]["mapping"] not in ("", version) and shown["outcome"]["kind"] == "ORU^R01"
    (shown,) = await run("inbox", "show", "m2")
    assert any(one.startswith("Observation/") for one in shown["outcome"]["resources"]), "the store's outcome"


async def test_mappings_are_asked_about_kept_messages(gateway: Gateway, run: Run, maps: Path) -> None:
    await told(gateway, report(1), report(2), report(3, died="20261399"))
    missing = {(one["kind"], one["place"]): one for one in await run("map", "gaps")}
    assert missing["code", "OBX-3"]["sample"] == "Q1^院内项目 · mmol/L"
    assert missing["field", "ZPI-5"]["count"] == 2
    (shown,) = await run("inbox", "show", "m1")
    result = next(one for one in shown["outcome"]["resources"] if one.startswith("Observation/"))
    (origin,) = await run("map", "explain", result, "valueQuantity.value")
    assert (origin["message"], origin["reads"][0]["inputs"][0][1]) == ("m1", "OBX[1]-5")
    (maps / "qu/oru_r01.yaml").write_text(_MAP.replace("ZPI-4", "PID-3"), encoding="utf-8")
    assert await run("map", "explain", result, "valueQuantity.value", code=5) == []
    assert "m1: 现在的映射不能处理这条消息" in run.said[-1]  # type: ignore[attr-defined]
    (maps / "qu/oru_r01.yaml").write_text(_MAP, encoding="utf-8")
    (maps / "qu/codes").mkdir()
    table = "from,name,unit,specimen,system,code,display\nQ1,钾,mmol/L,,LOINC,2823-3,钾\n"
    (maps / "qu/codes/lab_items.csv").write_text(table, encoding="utf-8")
    changed = await run("map", "diff", "--mappings", str(maps))
    assert not changed, "without --old the settings' own folder is both old and new"
    changed = await run("map", "diff", "--mappings", str(maps), "--old", str(maps.parent / "none"), code=2)


async def test_a_message_of_nobody_is_explained_by_the_source_it_was_processed_for(
    gateway: Gateway, run: Run, maps: Path
) -> None:
    assert b"MSA|AR|" in (await gateway.intake.v2(report(1).replace(b"QLIS", b"QHIS"))).ack
    (maps / "qu/source.yaml").write_text(_SOURCE.replace("QLIS", "QHIS"), encoding="utf-8")
    assert (await gateway.proof.attempt(switch=True)).switched
    await run("inbox", "replay", "--reason", "GW-INB-004")
    await gateway.worker.drained()
    (shown,) = await run("inbox", "show", "m1")
    result = next(one for one in shown["outcome"]["resources"] if one.startswith("Observation/"))
    (origin,) = await run("map", "explain", result, "valueQuantity.value")
    assert origin["reads"][0]["inputs"][0][1] == "OBX[1]-5"


async def test_originals_go_while_the_gateway_runs(gateway: Gateway, run: Run) -> None:
    await told(gateway, report(1), report(2, died="20261399"))
    assert (await run("inbox", "prune", "--dry-run"))[0]["messages"] == 1
    assert (await run("inbox", "prune"))[0]["messages"] == 1
    assert [(one["key"], one["held"]) for one in await run("inbox", "list")] == [("m2", True), ("m1", False)]
    (shown,) = await run("inbox", "show", "m1")
    assert shown["body"] is None and shown["outcome"]["state"] == "processed"
    await told(gateway, report(5))
    assert len(await run("inbox", "list", "--state", "processed")) == 2
