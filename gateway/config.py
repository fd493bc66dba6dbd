"""Configuration: flags > environment (`GATEWAY_*`) > `gateway.toml` > defaults.

An unknown key stops the start and names the nearest one. No other module reads the environment.
Every setting is described in `gateway/docs/operations.md` (a test compares).
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from .errors import ConfigError
from .model.view import View
from .settings import Settings
from .translate.sources import is_title

_PREFIX = "GATEWAY_"


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from a TOML file (optional) and the environment. Raises ConfigError with the key's place."""
    tree = _from_file(path) if path else {}
    _check_keys(tree, Settings, str(path or "gateway.toml"))
    _overlay(tree, os.environ if environment is None else environment)
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as fault:
        raise ConfigError(str(path or "gateway.toml"), str(fault), detail_zh=f"取值的类型不对：{fault}") from fault
    _check_values(settings)
    return settings


def password_of(view: View) -> str:
    """The password of a view's account, from the file or the variable its source names; "" where it names neither.

    Read with every connection, so that a new password counts without a restart. Raises ConfigError.
    """
    if view.password_env:
        if view.password_env not in os.environ:
            zh = f"没有环境变量 {view.password_env}：网关的进程要能看到它。"
            raise ConfigError("password_env", f"no variable {view.password_env}", detail_zh=zh)
        return os.environ[view.password_env]
    if not view.password_file:
        return ""
    try:
        return Path(view.password_file).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as fault:
        zh = f"没有口令文件 {view.password_file}，或无权读取。"
        raise ConfigError("password_file", f"{view.password_file} cannot be read", detail_zh=zh) from fault


def _check_values(settings: Settings) -> None:
    """Ports that exist, files and folders that are there: better said now than found half-way through the start."""
    ports = (
        ("http.port", settings.http.port, 0),
        ("mllp.port", settings.mllp.port, -1),
        ("dicom.port", settings.dicom.port, -1),
    )
    for key, port, least in ports:
        if not least <= port <= 65535:
            raise ConfigError(
                key, f"{port} is not within {least} to 65535", detail_zh=f"{port} 不在 {least} 到 65535 之间。"
            )
    for one in fields(settings.limits):
        if not getattr(settings.limits, one.name) > 0:
            raise ConfigError(f"limits.{one.name}", "must be above 0", detail_zh="须大于 0。")
    if settings.inbox.attempts < 2:
        raise ConfigError("inbox.attempts", "must be 2 or more", detail_zh="须不小于 2。")
    for name in ("retry_s", "waiting_mb"):
        if not getattr(settings.inbox, name) > 0:
            raise ConfigError(f"inbox.{name}", "must be above 0", detail_zh="须大于 0。")
    for name in ("connections", "connections_per_address", "idle_s", "frame_s", "rate", "frame_mb"):
        if not getattr(settings.mllp, name) > 0:
            raise ConfigError(f"mllp.{name}", "must be above 0", detail_zh="须大于 0。")
    for name in ("connections", "connections_per_address", "idle_s", "message_s"):
        if not getattr(settings.dicom, name) > 0:
            raise ConfigError(f"dicom.{name}", "must be above 0", detail_zh="须大于 0。")
    if not is_title(settings.dicom.ae_title):
        zh = "应是 1 到 16 个 ASCII 字符，不含反斜杠。"
        raise ConfigError("dicom.ae_title", "1 to 16 characters of ASCII, no backslash", detail_zh=zh)
    for key, number in _from_zero(settings).items():
        if number < 0:
            raise ConfigError(key, "must not be below 0", detail_zh="不能小于 0。")
    for key, folder in (
        ("gateway.mappings", settings.gateway.mappings),
        ("gateway.profiles", settings.gateway.profiles),
    ):
        if folder and not Path(folder).is_dir():
            raise ConfigError(key, f"no such folder: {folder}", detail_zh=f"没有这个目录：{folder}")
    for key, file in (
        ("http.tls_cert", settings.http.tls_cert),
        ("http.tls_key", settings.http.tls_key),
        ("mllp.tls_cert", settings.mllp.tls_cert),
        ("mllp.tls_key", settings.mllp.tls_key),
        ("mllp.tls_client_ca", settings.mllp.tls_client_ca),
        ("dicom.tls_cert", settings.dicom.tls_cert),
        ("dicom.tls_key", settings.dicom.tls_key),
        ("dicom.tls_client_ca", settings.dicom.tls_client_ca),
    ):
        if file and not (Path(file).is_file() and os.access(file, os.R_OK)):
            raise ConfigError(key, f"no readable file: {file}", detail_zh=f"没有这个文件或无权读取：{file}")


def _from_zero(settings: Settings) -> dict[str, float]:
    """Numbers for which 0 means something. Below it a slip would too: `days = -1` is not "for ever"."""
    inbox, fhir = settings.inbox, settings.fhir
    return {
        "gateway.shadow": settings.gateway.shadow,
        "fhir.conditional_delete": fhir.conditional_delete,
        "fhir.preparing": fhir.preparing,
        "fhir.reading": fhir.reading,
        "inbox.waiting_s": inbox.waiting_s,
        "inbox.gather_s": inbox.gather_s,
        "inbox.replay_days": inbox.replay_days,
    } | {f"keep[{number}].days": one.days for number, one in enumerate(settings.keep)}


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ConfigError(str(path), str(fault), detail_zh="没有这个文件，或无权读取。") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(str(path), "not UTF-8", detail_zh="不是 UTF-8 编码，请另存为 UTF-8。") from fault
    except tomllib.TOMLDecodeError as fault:
        line = found[1] if (found := re.search(r"at line (\d+)", str(fault))) else "1"
        twice = "overwrite a value" in str(fault)
        zh = "这个键或组写了两次。" if twice else "不是 TOML：应为 [组] 和 键 = 值，文本加双引号。"
        raise ConfigError(f"{path}:{line}", str(fault), detail_zh=zh) from fault


def _check_keys(tree: Mapping[str, Any], shape: type, place: str) -> None:
    hints = get_type_hints(shape)
    known = {one.name for one in fields(shape)}
    for key, value in tree.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)
            raise ConfigError(
                f"{place}: {key}",
                f"unknown key; did you mean {near[0]!r}?" if near else "unknown key",
                detail_zh=f"不认识这个键；是不是 {near[0]!r}？" if near else "不认识这个键。",
            )
        inner = _shape_of(hints[key])
        for part in value if isinstance(value, list) else [value]:
            if inner and isinstance(part, dict):
                _check_keys(part, inner, f"{place}: {key}")


def _shape_of(hint: object) -> type | None:
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    if get_origin(hint) is tuple:
        return _shape_of(get_args(hint)[0])
    return None


def _overlay(tree: dict[str, Any], environment: Mapping[str, str]) -> None:
    """`GATEWAY_HTTP_PORT=9000` sets `http.port`; an unknown name under the prefix stops the start."""
    names = {f"{_PREFIX}{group}_{key}".upper(): (group, key) for group, key in _scalars()}
    for name, value in environment.items():
        if not name.startswith(_PREFIX):
            continue
        if name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.0)
            raise ConfigError(
                name,
                f"unknown; did you mean {near[0]}?" if near else "unknown",
                detail_zh=f"不认识这个变量；是不是 {near[0]}？" if near else "不认识这个变量。",
            )
        group, key = names[name]
        tree.setdefault(group, {})[key] = value


def _scalars() -> list[tuple[str, str]]:
    """(group, key) of every setting one environment variable can hold."""
    hints = get_type_hints(Settings)
    return [
        (group, one.name)
        for group, shape in hints.items()
        if isinstance(shape, type) and is_dataclass(shape)
        for one in fields(shape)
        if get_origin(get_type_hints(shape)[one.name]) is not tuple
    ]
