"""`gateway load`: files and folders through the push door of a running gateway."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import httpx

from ..errors import ConfigError, GatewayError
from ..inbound.files import files_below, read_file
from ..translate.read_v2 import split_batch
from .talk import Exit, emit, say, tracked


def run(args: argparse.Namespace) -> int:
    """Push every file; exit 4 when nobody answers, 5 when one was refused."""
    push, token, format_ = _where(args)
    paths = [path for name in args.paths for path in files_below(Path(name))]
    refused = 0
    try:
        with httpx.Client(timeout=60, trust_env=False, headers={"Authorization": f"Bearer {token}"}) as client:
            for path in tracked(paths, len(paths), "推送 / load"):
                for answer in _pushed(client, f"{push}/{args.source}", path, format_):
                    refused += not answer["ok"]
                    if args.json:
                        emit(answer)
                    elif not answer["ok"]:
                        say(f"{path}: {answer['status']} {answer['text']}")
    except httpx.TransportError as fault:
        say(f"{push}: {type(fault).__name__} 没有应答 / no answer")
        return Exit.UPSTREAM
    say(f"{len(paths)} 个文件，{refused} 个被拒 / {len(paths)} files, {refused} refused")
    return Exit.PARTIAL if refused else Exit.OK


def _where(args: argparse.Namespace) -> tuple[str, str, str]:
    """(push address, token, format of the source): from flags, else from the home's demo.json."""
    facts: dict[str, object] = {}
    path = Path(args.home) / "demo.json"
    if path.is_file():
        facts = json.loads(path.read_text(encoding="utf-8"))
    tokens, sources = facts.get("tokens", {}), facts.get("sources", {})
    token = Path(args.token).read_text("utf-8").strip() if args.token else dict(tokens).get("vendor", "")  # type: ignore[call-overload]
    push = args.push or str(facts.get("push", ""))
    if not push or not token:
        raise ConfigError(
            "--push, --token",
            f"name them, or start the demo first ({path} is missing)",
            detail_zh=f"请写明这两项，或先启动 gateway demo（没有 {path}）。",
        )
    known = dict(sources).get(args.source, {})  # type: ignore[call-overload]
    return push, token, str(known.get("format", ""))


def _pushed(client: httpx.Client, address: str, path: Path, format_: str) -> list[dict[str, object]]:
    try:
        body = read_file(path, format_)
    except GatewayError as fault:
        return [{"file": str(path), "ok": False, "status": fault.http, "text": fault.sentence_zh()}]
    bodies = split_batch(body) if body.lstrip(b"\x0b\r\n ")[:3] in (b"MSH", b"FHS", b"BHS") else [body]
    return [_one(client, address, path, one) for one in bodies]


def _one(client: httpx.Client, address: str, path: Path, body: bytes) -> dict[str, object]:
    name = path.name.encode("ascii", "ignore").decode()
    answer = client.post(address, content=body, headers={"X-File-Name": name})
    return {"file": str(path), "ok": answer.status_code == 202, "status": answer.status_code, "text": _said(answer)}


def _said(answer: httpx.Response) -> str:
    """What the gateway said, for a person: the sentence of an OperationOutcome, the lines of an ACK."""
    if "json" not in answer.headers.get("content-type", ""):
        return answer.text.strip().replace("\r", "\n")
    told = answer.json()
    issues = [one["details"]["text"] for one in told.get("issue", ()) if "details" in one]
    return " ".join(issues) or str(told.get("zh", "")) or answer.text[:400]
