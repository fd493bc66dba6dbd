"""Narrative of a document, made safe where it is shown (D27): an allow-list, everything else is text or gone.

Attributes are dropped but for digits in colspan and rowspan; script, style and the like lose their content too.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser

from markupsafe import Markup

from ...model.resource import Json

_KEPT = {"div", "p", "br", "ul", "ol", "li", "dl", "dt", "dd", "b", "strong", "i", "em", "sub", "sup"}
_KEPT |= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
_AS = {
    "paragraph": "p",
    "h1": "strong",
    "h2": "strong",
    "h3": "strong",
    "h4": "strong",
    "h5": "strong",
    "h6": "strong",
    "list": "ul",
    "item": "li",
}
_SILENT = {"script", "style", "iframe", "object", "embed", "svg", "math", "template", "noscript", "textarea", "title"}
_MOST_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a document: heading and safe HTML."""

    title: str
    html: Markup


def sections(composition: Json) -> tuple[Section, ...]:
    """The sections of a Composition in their order, nested ones behind their parent."""
    out: list[Section] = []
    todo = list(composition.get("section", ()))
    while todo:
        section = todo.pop(0)
        html = safe(str(section.get("text", {}).get("div", "")))
        if html or section.get("title"):
            out.append(Section(str(section.get("title", "")), html))
        todo = list(section.get("section", ())) + todo
    return tuple(out)


def safe(div: str) -> Markup:
    """`div` with allowed elements only, well-formed, without one attribute that could act."""
    parser = _Cleaner()
    parser.feed(div)
    parser.close()
    return Markup(parser.result())


class _Cleaner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._open: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent += 1
        name = _AS.get(tag, tag if tag in _KEPT else "")
        if not name or self._silent:
            return
        if name == "br":
            self._out.append("<br>")
        elif len(self._open) < _MOST_DEPTH:
            # A paragraph inside a paragraph would be closed by the browser at another place than by us.
            if name == "p" and "p" in self._open:
                name = "br"
                self._out.append("<br>")
                return
            self._out.append(f"<{name}{_spans(attrs)}>")
            self._open.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br" and not self._silent:
            self._out.append("<br>")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
            return
        name = _AS.get(tag, tag if tag in _KEPT else "")
        if self._silent or name not in self._open:
            return
        while self._open:
            last = self._open.pop()
            self._out.append(f"</{last}>")
            if last == name:
                return

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._out.append(escape(data))

    def result(self) -> str:
        closing = "".join(f"</{name}>" for name in reversed(self._open))
        return ("".join(self._out) + closing).strip()


def _spans(attrs: list[tuple[str, str | None]]) -> str:
    kept = [(n, v) for n, v in attrs if n in ("colspan", "rowspan") and v and v.isdecimal() and len(v) < 4]
    return "".join(f' {name}="{value}"' for name, value in kept)
