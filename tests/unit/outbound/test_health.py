"""Readiness answers soon, whatever the store does; so does a refusal while the audit log is out of order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette

from gateway.errors import StorageFull
from gateway.outbound import fhir_routes, health
from gateway.store.base import Store
from tests.unit.fhir_site import a_site


class Slow:
    async def read(self, *_: object) -> None:
        await asyncio.sleep(60)


async def test_a_store_that_does_not_answer_soon_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_SOON_S", 0.01)
    app = Starlette(routes=health.health_routes(cast(Store, Slow()), Slow().read))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
        answer = await http.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "down", "error": "GW-STO-001"})


async def test_a_refusal_does_not_wait_long_for_an_audit_log_that_is_out_of_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(fhir_routes, "_NOTE_S", 0.01)
    async with a_site(tmp_path) as site:
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(site.store, "disclose", lambda row: never)
            async with asyncio.timeout(5):
                assert (await site.get("Patient/none")).status_code == 404


async def test_refusals_that_cannot_be_audited_are_told_once_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(row: object) -> None:
        raise StorageFull

    async with a_site(tmp_path) as site:
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(site.store, "disclose", full)
            for _ in range(20):
                assert (await site.get("Patient/none")).status_code == 404
        assert [one.getMessage() for one in caplog.records] == ["refusals cannot be audited: GW-INB-007"]
        await site.get("Patient/none")
        await site.get("Patient/none")
    assert [one.getMessage() for one in caplog.records][1:] == ["refusals are audited again; 20 are missing"]
