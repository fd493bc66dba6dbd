"""A skipped test is named at the end; where TESTS_REFUSE_SKIPS is set (CI), it fails the run."""

from __future__ import annotations

import os

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in _skipped:
        terminalreporter.write_line(f"SKIPPED {name}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped and os.environ.get("TESTS_REFUSE_SKIPS"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
