"""A user's mistake at the command line gets a sentence and its exit code, never a traceback."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.cli import command_line, main
from gateway.commands.parser import Parser, both, columns, wrapped
from gateway.commands.serve import address_of
from gateway.commands.talk import Exit
from gateway.inbox.queue import Arrival, open_inbox
from gateway.model.times import CHINA
from gateway.settings import Http
from gateway.shipped import shipped


@pytest.mark.parametrize(
    "words",
    [
        ("try", "missing.hl7"),
        ("send", "missing.hl7"),
        ("send", "."),
        ("send", "empty.hl7"),
        ("map", "check", "--mappings", "missing"),
        ("map", "test", "."),
        ("generate", "--out", "empty.hl7"),
    ],
)
def test_a_wrong_file_is_a_mistake_of_use(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.hl7").touch()
    monkeypatch.chdir(tmp_path)
    assert main(list(words)) == Exit.USAGE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("send a.hl7 --mllp 127.0.0.1:x", "gateway send: --mllp：'x' 不是端口号"),
        ("send a.hl7 --mllp 127.0.0.1:70000", "gateway send: --mllp：'70000' 不是端口号"),
        ("listen --port 70000", "gateway listen: --port：'70000' 不是端口号"),
        ("generate --residents 0 --out a", "gateway generate: --residents：'0' 应是大于 0 的整数"),
        ("generate --seed x --out a", "gateway generate: --seed：'x' 应是 0 或大于 0 的整数"),
        ("generate --seed -1 --out a", "gateway generate: --seed：'-1' 应是 0 或大于 0 的整数"),
        ("generate --residents ² --out a", "gateway generate: --residents：'²' 应是大于 0 的整数"),
        ("listen --count -1", "gateway listen: --count：'-1' 应是大于 0 的整数"),
        ("listen --count 0", "gateway listen: --count：'0' 应是大于 0 的整数"),
        ("inbox list --limit 0", "gateway inbox list: --limit：'0' 应是大于 0 的整数"),
        ("inbox list --since yesterday", "gateway inbox list: --since：'yesterday' 不是日期时间"),
        ("map", "gateway map: 缺少 action"),
        ("map new --mappings a", "gateway map new: 缺少 member"),
        ("map new a", "gateway map new: 缺少 --mappings"),
        ("map nothing", "gateway map: action 不能是 'nothing'；可用："),
        ("map new a --mappings a --sendr A/B", "gateway map new: 没有参数 --sendr，是不是 --sender？"),
        ("map explain Observation code", "gateway map explain: resource：'Observation' 应写成 类型/编号"),
        ("map check more", "gateway map check: 没有参数 more。"),
        ("map new a --name", "gateway map new: --name 后面要写值"),
        ("map check --json=3", "gateway map check: --json 不带值，却写了 '3'"),
        ("inbox list --s a", "gateway inbox list: --s 可以是 --state, --source, --since，请写全"),
    ],
)
def test_a_mistake_of_use_is_told_in_chinese_by_the_command_it_was_made_in(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == Exit.USAGE
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(said) and line.endswith(f"用法见 {said.partition(':')[0]} --help")


def test_a_port_nobody_listens_on_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "a.hl7").write_bytes(b"MSH|^~\\&|A|B\r")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert main(["send", str(tmp_path / "a.hl7"), "--mllp", f"127.0.0.1:{port}"]) == Exit.UPSTREAM


@pytest.mark.parametrize("words", [("inbox", "list"), ("map", "gaps"), ("store", "stats")])
def test_a_home_without_a_gateway_is_named_and_left_as_it_was(words: tuple[str, ...], tmp_path: Path) -> None:
    assert main([*words, "--home", str(tmp_path)]) == Exit.CONFIG
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try", str(tmp_path)]) == Exit.USAGE
    assert "目录是空的" in capsys.readouterr().err


def test_a_reader_who_has_seen_enough_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "gateway", "try", "fixtures/hello.hl7"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert ended.returncode == Exit.OK and b"refused" not in ended.stderr and b"Traceback" not in ended.stderr


def test_listening_ends_without_a_word_from_python_though_a_line_is_open(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway", "listen", "--port", "0", "--count", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listening:
        assert listening.stderr
        port = int(listening.stderr.readline().decode().rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port)) as idle,
            socket.create_connection(("127.0.0.1", port)) as line,
        ):
            line.sendall(b"\x0bMSH|^~\\&|A|B|C|D|20260309||ADT^A01|1|P|2.4\r\x1c\r")
            assert b"MSA|AA|1" in line.recv(4096)
            assert listening.wait(timeout=30) == Exit.OK and idle
        assert listening.stderr.read() == b""


def test_a_taken_port_is_a_matter_of_configuration() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["listen", "--port", str(taken.getsockname()[1])]) == Exit.CONFIG


@pytest.mark.parametrize(
    ("content", "place", "zh"),
    [
        (None, "", "没有这个文件"),
        ("[gateway]\nhome = 家\n".encode(), ":2", "不是 TOML"),
        (b"[http]\nport = 1\nport = 2\n", ":3", "写了两次"),
        ('[gateway]\nhome = "家"\n'.encode("gbk"), "", "不是 UTF-8"),
    ],
)
def test_a_settings_file_that_cannot_be_read_is_named(
    content: bytes | None, place: str, zh: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gateway.toml"
    if content is not None:
        path.write_bytes(content)
    assert main(["map", "gaps", "--config", str(path)]) == Exit.CONFIG
    said = capsys.readouterr().err
    assert zh in said and f"[位置：{path}{place}]" in said


@pytest.mark.parametrize(
    "text",
    [
        "[gateway",
        "[http]\nport = 70000\n",
        '[gateway]\nmappings = "/does/not/exist"\n',
        '[http]\ntls_cert = "/does/not/exist"\ntls_key = "/does/not/exist"\n',
        '[gateway]\nhome = "/dev/null/home"\n',
    ],
)
def test_settings_that_cannot_work_stop_the_start(text: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    assert main(["serve", "--config", str(path)]) == Exit.CONFIG


@pytest.mark.parametrize("key", ["http.tls_cert", "mllp.tls_cert"])
def test_a_certificate_that_is_none_is_named_without_a_traceback(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, none = tmp_path / "gateway.toml", tmp_path / "none.pem"
    none.write_text("no certificate")
    door, other = key.partition(".")[0], "mllp" if key.startswith("http") else "http"
    more = f'tls_client_ca = "{none}"\n' if door == "mllp" else ""
    path.write_text(
        f'[gateway]\nhome = "{tmp_path}/home"\n[{other}]\nport = 0\n'
        f'[{door}]\nport = 0\ntls_cert = "{none}"\ntls_key = "{none}"\n{more}'
    )
    assert main(["serve", "--config", str(path)]) == Exit.CONFIG
    said = capsys.readouterr().err
    assert f"[位置：{key}" in said and "Traceback" not in said


def test_several_workers_are_refused_without_postgresql(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f'[gateway]\nhome = "{tmp_path}"\n')
    assert main(["serve", "--workers", "2", "--config", str(path)]) == Exit.CONFIG
    assert "--workers" in capsys.readouterr().err


def test_messages_are_chosen_by_the_time_they_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def kept() -> None:
        inbox = await open_inbox(tmp_path)
        for hour in (8, 9, 10):
            at = datetime(2026, 3, 10, hour, tzinfo=CHINA)
            await inbox.keep(Arrival("lis", "v2", f"MSH|{hour}".encode(), at, refused="GW-TRN-003"))
        await inbox.close()

    asyncio.run(kept())
    chosen = ["--home", str(tmp_path), "--since", "2026-03-10T09:00", "--until", "2026-03-10T10:00"]
    assert main(["inbox", "list", *chosen]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["m2"]
    assert main(["inbox", "groups", *chosen, "--json"]) == 0
    assert '"count":1' in capsys.readouterr().out.replace(" ", "")
    assert main(["inbox", "replay", *chosen, "--json"]) == 0
    assert '"replayed":1' in capsys.readouterr().out.replace(" ", "")


def test_a_file_of_another_sender_is_told_when_it_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    hello = str(shipped("fixtures") / "hello.hl7")
    assert main(["try", hello, "--source", "city_first_hospital"]) == 0
    assert "会被拒绝" not in capsys.readouterr().err
    assert main(["try", hello, "--source", "county_tcm_hospital"]) == 0
    assert "来源 county_tcm_hospital 登记的是 LIS/XZYY：按 MLLP 发送会被拒绝" in capsys.readouterr().err


def test_a_result_that_breaks_r4_is_told_with_the_rule_that_wrote_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text('{"type": "lab_report", "report": {"number": "1"}}', encoding="utf-8")
    assert main(["try", str(tmp_path / "report.json")]) == 5
    assert "规则 report  _base/json/lab_report.yaml:" in (said := capsys.readouterr().err)
    assert "DiagnosticReport.code  必填" in said and "← report.code、report.name" in said


HAN = re.compile(r"[\u4e00-\u9fff]")
MARKS = tuple("，。；：、")


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of every command below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def helps(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """(where, text) of the command itself, each flag, and each command in its list."""
    yield parser.prog, parser.description or ""
    for action in parser._actions:
        yield f"{parser.prog} {'/'.join(action.option_strings) or action.metavar or action.dest}", action.help or ""
        if isinstance(action, argparse._SubParsersAction):
            listed = {one.dest: one.help or "" for one in action._choices_actions}
            yield from ((f"{parser.prog}: {name}", listed.get(name, "")) for name in action.choices)


def in_both(text: str) -> bool:
    """Chinese first, then English on a line of its own."""
    zh, _, en = text.partition("\n")
    return bool(HAN.search(zh) and re.search("[A-Za-z]{2}", en) and not HAN.search(en))


def test_every_help_is_in_chinese_and_in_english() -> None:
    found = [one for parser in parsers(command_line()) for one in helps(parser)]
    assert len(found) > 200
    assert [where for where, text in found if not in_both(text)] == []


def test_a_flag_or_command_in_one_language_is_caught() -> None:
    parser = Parser(prog="p", description=both("说明", "about"))
    parser.add_argument("--english", help="only English")
    parser.add_argument("--chinese", help="只有中文")
    parser.add_argument("--silent")
    parser.argument("--both", "两种都有", "both")
    commands = parser.commands("command")
    commands.add_parser("bare")
    caught = [where for one in parsers(parser) for where, text in helps(one) if not in_both(text)]
    assert caught == ["p --english", "p --chinese", "p --silent", "p: bare", "p bare"]


def test_no_help_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line for parser in parsers(command_line()) for line in parser.format_help().splitlines()]
    assert [line for line in lines if columns(line) > 80] == []


def test_a_chinese_help_is_broken_between_clauses_alone() -> None:
    """54 columns are left of 80 beside the longest flags."""
    for parser in parsers(command_line()):
        for where, text in helps(parser):
            lines = wrapped(text.partition("\n")[0], 54)
            assert all(end.endswith(MARKS) or below.startswith("（") for end, below in pairwise(lines)), where


def test_lines_are_measured_in_columns_and_keep_words_and_brackets_whole() -> None:
    assert wrapped("一二三，四五六（七 八），nine ten", 12) == ["一二三，", "四五六", "（七 八），", "nine ten"]
    assert wrapped("  gateway  demo", 80) == ["  gateway  demo"]


def test_usage_goes_on_below_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    parser = Parser(prog="p")
    for name in ("first", "second", "third"):
        parser.argument(f"--{name}", "值", "value")
    first, *more = parser.format_usage().splitlines()
    assert first.startswith("用法 / usage: p [-h]")
    assert more and all(line.startswith(" " * columns("用法 / usage: p ") + "[") for line in more)


def test_what_argparse_itself_prints_is_chinese_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == Exit.OK
    text = capsys.readouterr().out
    assert text.startswith("用法 / usage: gateway ")
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert headings == ["位置参数 / positional arguments", "选项 / options", "示例 / examples", "退出码 / exit codes"]


def test_a_batch_file_gives_a_line_for_each_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hello = (shipped("fixtures") / "hello.hl7").read_bytes().replace(b"\n", b"\r").rstrip(b"\r")
    batch = tmp_path / "day.hl7"
    batch.write_bytes(b"\r".join([b"BHS|^~\\&|HIS", hello, hello.replace(b"|P|", b"|X|", 1), b"BTS|2", b""]))
    main(["try", str(batch), "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["file"], one["format"]) for one in lines] == [(str(batch), "v2")] * 2


def test_the_address_told_at_the_start_is_one_to_go_to() -> None:
    assert address_of(Http(), 8080) == "http://127.0.0.1:8080"
    assert address_of(Http(host="::1", tls_cert="c.pem"), 8443) == "https://[::1]:8443"
