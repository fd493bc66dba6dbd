"""One loaded alliance for all tests that only look; those that write start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flow.alliance import Alliance, start_alliance


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
