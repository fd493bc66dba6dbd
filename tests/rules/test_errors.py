"""Every error has a code of its own, is documented, and every setting too."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

from gateway import errors, settings

DOCS = Path(errors.__file__).parent / "docs"


def _classes() -> list[type[errors.GatewayError]]:
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    return [one for one in found if issubclass(one, errors.GatewayError)]


def test_no_code_is_used_twice() -> None:
    counted = Counter(one.code for one in _classes())
    assert [code for code, count in counted.items() if count > 1] == []


def test_every_code_is_documented() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    assert [one.code for one in _classes() if f"`{one.code}`" not in text] == []


def test_every_error_speaks_both_languages_and_has_an_ack() -> None:
    for one in _classes():
        assert one.zh and one.en, one
        assert one.ack[0] in ("AE", "AR"), one


def test_every_setting_is_documented() -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    missing = []
    for group, shape in get_type_hints(settings.Settings).items():
        names = [one.name for one in fields(shape)] if isinstance(shape, type) and is_dataclass(shape) else []
        missing += [f"{group}.{name}" for name in names if f"`{group}.{name}`" not in text]
    assert missing == []
