"""The pictures of the README are taken from the real pages, so that they cannot go stale unnoticed.

`UPDATE_PICTURES=1` writes them into `gateway/docs/pictures`; else they go to `tests/_out` and only their
presence and size in the documentation are checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.flow.alliance import TOKENS, Alliance
from tests.flow.browser import launched, seat
from tests.flow.test_stories_fhir import HE, LIU, WU

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "gateway" / "docs" / "pictures"
PICTURES = {"summary": (WU, ""), "labs": (LIU, "/labs"), "recognise": (HE, "/recognise")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_the_picture_of_a_page_can_be_taken_and_stands_in_the_documentation(
    browser: Browser, alliance: Alliance, name: str
) -> None:
    card, tab = PICTURES[name]
    folder = SHIPPED if os.environ.get("UPDATE_PICTURES") else ROOT / "tests" / "_out"
    folder.mkdir(parents=True, exist_ok=True)
    with seat(browser, alliance.url) as doctor:
        doctor.sign_in(TOKENS["doctor"])
        page = doctor.go(f"/ui/p/{alliance.person(card)['id']}{tab}")
        page.set_viewport_size({"width": 1366, "height": 860})
        page.screenshot(path=str(folder / f"{name}.png"))
    assert (SHIPPED / f"{name}.png").stat().st_size > 20_000
    assert f"pictures/{name}.png" in (ROOT / "README.md").read_text(encoding="utf-8")
