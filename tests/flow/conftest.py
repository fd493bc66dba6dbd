"""One loaded alliance for all tests that only look; those that write start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.alliance import Alliance, start_alliance
from tests.flow.keys import made_in


@pytest.fixture(scope="session")
def alliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alliance]:
    """Twelve residents as they stand at the anchor, 2026-03-20T09:00+08:00."""
    loaded, _ = start_alliance(tmp_path_factory.mktemp("alliance"))
    yield loaded
    loaded.close()


@pytest.fixture
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alliance]:
    """A gateway without a single message."""
    fresh = Alliance(tmp_path_factory.mktemp("empty"))
    yield fresh
    fresh.close()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of `tests/flow/keys.py`."""
    return made_in(tmp_path_factory.mktemp("keys"))
