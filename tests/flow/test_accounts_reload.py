"""Accounts while the gateway runs: what is taken out of `gateway.toml` ends at the hangup signal, and is audited."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.security.signin import hash_password
from gateway.security.tokens import token_digest

TOKENS = {role: f"{role}-reload-token-0123456789abcdef" for role in ("admin", "platform")}
SECRET = hash_password("好密码 1")
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Served:
    """`gateway serve` in a process of its own."""

    def __init__(self, home: Path) -> None:
        self._config, self._home = home / "gateway.toml", home
        self.write(*self.accounts())
        command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(self._config)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "400", "GATEWAY_FHIR_READING": "0"}
        )
        found = re.search(r"http://127\.0\.0\.1:\d+", self.said())
        assert found
        self.client = httpx.Client(base_url=found[0], timeout=30)

    @staticmethod
    def accounts(*but: str) -> list[str]:
        entries = [
            f'[[token]]\nuser = "{role}"\nrole = "{role}"\ntoken_sha256 = "{token_digest(token)}"\n'
            for role, token in TOKENS.items()
        ]
        entries.append(f'[[token]]\nuser = "zheng"\nrole = "doctor"\npassword_scrypt = "{SECRET}"\n')
        return [one for one in entries if not any(f'"{user}"' in one for user in but)]

    def write(self, *accounts: str, more: str = "") -> None:
        text = f'[gateway]\nhome = "{self._home}"\n[http]\nport = 0\n[mllp]\nport = -1\n{more}\n' + "".join(accounts)
        self._config.write_text(text, encoding="utf-8")

    def said(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def reload(self) -> str:
        """What is said of the accounts; what is said of the mappings is read too."""
        self.process.send_signal(signal.SIGHUP)
        lines = [self.said()]
        while "mappings switched" not in lines[-1]:
            lines.append(self.said())
        return "".join(lines[:-1])

    def status(self, role: str, path: str = "/fhir/Patient") -> int:
        return self.client.get(path, headers={"authorization": f"Bearer {TOKENS[role]}"}).status_code


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("home"))
    yield made
    made.process.terminate()
    assert made.process.wait(30) == 0


def test_an_account_taken_out_is_refused_at_once_and_signed_out_and_told_in_the_audit(served: Served) -> None:
    answer = served.client.post("/ui/signin", data={"user": "zheng", "password": "好密码 1"}, headers=FORM)
    assert answer.status_code == 303 and served.client.get("/ui/").status_code == 200
    assert served.status("platform") == 200
    served.write(*served.accounts("platform", "zheng"))
    assert "停用 platform，停用 zheng" in served.reload()
    assert served.status("platform") == 401 and served.status("admin") == 200
    assert served.client.get("/ui/").status_code == 303
    headers = {"authorization": f"Bearer {TOKENS['admin']}"}
    found = served.client.get("/fhir/AuditEvent", params={"subtype": "110137"}, headers=headers).json()["entry"]
    told = [one["resource"] for one in found]
    assert sorted(one["outcomeDesc"] for one in told) == ["removed: platform", "removed: zheng"]
    assert {one["type"]["code"] for one in told} == {"110113"} and {one["action"] for one in told} == {"D"}
    served.write(*served.accounts())
    assert "新增 platform，新增 zheng" in served.reload()
    assert served.status("platform") == 200 and served.client.get("/ui/").status_code == 303


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('[[token]]\nuser = "x"\nrole = "docter"\ntoken_sha256 = ""\n', "token.x.role"),
        ('[[token]]\nuser = "x"\nrole = "doctor"\nmember = "nowhere"\ntoken_sha256 = "%s"\n' % ("0" * 64), "nowhere"),
        ("[[token]\n", "不是 TOML"),
    ],
)
def test_a_slip_in_the_file_leaves_the_accounts_as_they_are(served: Served, wrong: str, said: str) -> None:
    served.write(*served.accounts("platform"), wrong)
    told = served.reload()
    assert "账号没有重新载入" in told and said in told
    assert served.status("platform") == served.status("admin") == 200
    served.write(*served.accounts())
    assert served.reload() == ""


def test_what_needs_a_restart_is_said(served: Served) -> None:
    served.write(*served.accounts(), more="[limits]\nbody_mb = 17\n")
    assert "重启后才生效" in served.reload()
    assert served.status("platform") == 200
