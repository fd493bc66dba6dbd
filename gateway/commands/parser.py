"""The parser of `gateway`: help in Chinese with the English below it, mistakes of use told in Chinese."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import unicodedata
from typing import Any, NoReturn, TypeAlias

from .talk import Exit

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
_USAGE = "用法 / usage: "
# Where a line may end: behind a blank or a mark, unless a bracket is open there, and before a bracket.
_CUT = re.compile(r"(?<=[ ，。；：、])(?! |[^（]*）)|(?=（)")
_MISTAKES = (  # what argparse says of a command line, as far as users meet it
    (r"the following arguments are required: (.+)", r"缺少 \1。"),
    (r"argument (\S+): invalid choice: (.+) \(choose from (.+)\)", r"\1 不能是 \2；可用：\3。"),
    (r"argument (\S+): expected (?:one|at least one|\d+) arguments?", r"\1 后面要写值。"),
    (r"argument (\S+): ignored explicit argument (.+)", r"\1 不带值，却写了 \2。"),
    (r"ambiguous option: (\S+) could match (.+)", r"\1 可以是 \2，请写全。"),
    (r"argument (\S+): (.+)", r"\1：\2"),
)


def both(zh: str, en: str) -> str:
    """A help text as the formatter takes it: Chinese, and on lines of its own English."""
    return f"{zh}\n{en}"


def columns(text: str) -> int:
    """How wide a terminal shows it at most: what Unicode calls ambiguous (…, “) is wide on Chinese systems."""
    return sum(2 if unicodedata.east_asian_width(one) in "WFA" else 1 for one in text)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of so many columns, cut between words or clauses: Chinese has no blanks and reads badly cut elsewhere."""
    lines = [""]
    for piece in _CUT.split(text):
        if lines[-1] and columns(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


class Help(argparse.HelpFormatter):
    """argparse's layout, which counts characters and joins lines, for texts of two languages and two widths."""

    def _format_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None) -> str:
        """Laid out beside as many blanks as the prefix has columns, which it then replaces."""
        said = _USAGE if prefix is None else prefix
        blanks = " " * columns(said)
        return super()._format_usage(usage, actions, groups, blanks).replace(blanks, said, 1)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return [line for part in text.splitlines() for line in wrapped(part, width)]

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in self._split_lines(text, width))


class Parser(argparse.ArgumentParser):
    """argparse that says in Chinese what is wrong with a command line, for the command it was written for."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given, formatter_class=Help, add_help=False)
        self._positionals.title = "位置参数 / positional arguments"
        self._optionals.title = "选项 / options"
        text = both("显示本帮助并退出", "show this help message and exit")
        self.add_argument("-h", "--help", action="help", help=text)

    def argument(self, name: str, zh: str, en: str, **how: Any) -> None:
        """`add_argument`, so that no flag can be without a text in either language."""
        self.add_argument(name, help=both(zh, en), **how)

    def commands(self, metavar: str, dest: str = argparse.SUPPRESS) -> Commands:
        """The place for the commands below this one, of which a user must name one."""
        text = both("以下之一；后面加 --help 看它的用法", "one of these, each with its own --help")
        return self.add_subparsers(required=True, metavar=metavar, dest=dest, help=text)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it; what this command does not know is refused here, where its flags are known."""
        found, extra = super().parse_known_args(args, namespace)
        if extra:
            near = difflib.get_close_matches(extra[0].partition("=")[0], self._option_string_actions, 1, 0.6)
            self.error(f"没有参数 {extra[0]}" + (f"，是不是 {near[0]}？" if near else "。"))
        return found, extra

    def error(self, message: str) -> NoReturn:
        """Usage, the sentence and where to read on, on stderr; exit code 2."""
        self.print_usage(sys.stderr)
        zh = next((found.expand(to) for said, to in _MISTAKES if (found := re.fullmatch(said, message))), message)
        self.exit(Exit.USAGE, f"{self.prog}: {zh} 用法见 {self.prog} --help\n")


def command(commands: Commands, name: str, run: str, zh: str, en: str) -> Parser:
    """A command; its text stands in the list it is chosen from and on top of its own help."""
    text = both(zh, en)
    parser = commands.add_parser(name, help=text, description=text)
    if run:
        parser.set_defaults(run=run)
    return parser
