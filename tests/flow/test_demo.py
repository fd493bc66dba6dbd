"""`gateway demo` as a newcomer runs it: the command, what it prints, and that each printed line works as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.flow.browser import launched
from tests.flow.test_dicom import image, store

pytestmark = pytest.mark.browser
PORTS = ["--port", "0", "--mllp-port", "0", "--dicom-port", "0"]
COMMAND = [sys.executable, "-m", "gateway", "demo", "--no-browser", "--no-stream", *PORTS]


@contextmanager
def demo(home: Path) -> Iterator[str]:
    """What it prints until it is ready; ended by Ctrl-C, which must be a clean end."""
    process = subprocess.Popen(
        [*COMMAND, "--home", str(home)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest


def test_every_line_the_demo_prints_works_as_it_stands(tmp_path: Path) -> None:
    with demo(tmp_path) as said:
        facts = json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))
        doctor, vendor = re.findall(r"http://\S+/signin\S+", said)
        with launched() as browser:
            page = browser.new_page()
            page.goto(doctor)
            page.keyboard.press("Enter")
            page.locator("#resident").fill("990101194201150996")
            page.keyboard.press("Enter")
            page.get_by_role("link", name="吴德福").first.click()
            expect(page.get_by_role("heading", name="健康摘要")).to_be_visible()
            console = browser.new_page()
            console.goto(vendor)
            console.keyboard.press("Enter")
            console.wait_for_url("**/console/")
        curl, hello = (shlex.split(line) for line in said.splitlines() if line.startswith(("  curl", "  gateway send")))
        name, _, token = curl[2].partition(": ")
        found = httpx.get(curl[3], headers={name: token}).json()
        assert [entry["resource"]["resourceType"] for entry in found["entry"]].count("Patient") >= 1
        sent = subprocess.run([sys.executable, "-m", *hello], capture_output=True, text=True, check=True)
        assert "MSA|AA|HELLO0001" in sent.stdout
        assert facts["sources"]["city_first_pacs"] == {
            "format": "dicom", "called_ae": "GATEWAY", "calling_ae": "CITYPACS",
        }  # fmt: skip
        assert store(int(facts["dicom"].rpartition(":")[2]), image())[0].Status == 0
        assert httpx.get(facts["docs"], follow_redirects=True).status_code == 200
        kept = _messages(facts)
    with demo(tmp_path):
        assert _messages(json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))) == kept  # not loaded again


def _messages(facts: dict[str, dict[str, str]]) -> int:
    found = httpx.get(
        f"{facts['fhir']}/Observation?_summary=count",
        headers={"Authorization": f"Bearer {facts['tokens']['platform']}"},
    )
    total: int = found.json()["total"]
    return total
