"""Active content in narrative: refused at the door, everything else is stored untouched (D27).

Works on the text of `Narrative.div` without trusting it to be XML: what a browser might execute counts.
"""

from __future__ import annotations

import html
import re

_TAG = re.compile(
    r"<\s*/?\s*(?:[\w-]+:)?(script|iframe|object|embed|applet|form|input|button|meta|link|base|svg|math|frame|frameset"
    r"|style|template|video|audio|marquee)\b",
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"<[^<>]*?[\s/\"'](on\w+|formaction|srcdoc|xlink:href)\s*=", re.IGNORECASE)
_SCHEME = re.compile(
    r"(?:javascript|vbscript|data\s*:\s*(?:text/html|image/svg|application/xhtml))\s*:?", re.IGNORECASE
)
_LINK = re.compile(r"(?:href|src|action|background|cite|poster)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>]+)", re.IGNORECASE)
_STYLE = re.compile(r"style\s*=\s*(\"[^\"]*\"|'[^']*')", re.IGNORECASE)
_DIV = re.compile(r"\s*<div\b[^>]*>.*</div>\s*\Z|\s*<div\b[^>]*/>\s*\Z", re.DOTALL)


def active(div: str) -> str:
    """What makes the narrative active (`<script>`, `onclick`, `javascript:`); "" when nothing does."""
    for found in (_TAG.search(div), _ATTRIBUTE.search(div)):
        if found:
            return found[1].lower()
    for found in _LINK.finditer(div):
        if scheme := _executable(found[1]):
            return scheme
    return next((s for found in _STYLE.finditer(div) if (s := _executable_style(found[1]))), "")


def is_div(div: str) -> bool:
    """True when the text is one `<div>…</div>` with something in it (txt-1, txt-2)."""
    if not _DIV.match(div) or "<!DOCTYPE" in div or "<!ENTITY" in div:
        return False
    return bool(re.sub(r"<[^>]*>", "", div).strip()) or "<img" in div


def _executable(value: str) -> str:
    text = html.unescape(value.strip("\"'"))
    found = _SCHEME.match("".join(c for c in text if c > " "))
    return found[0].lower() if found else ""


def _executable_style(value: str) -> str:
    text = re.sub(r"/\*.*?\*/|\s", "", html.unescape(value)).lower()
    return next((word for word in ("expression(", "javascript:", "-moz-binding", "behavior:") if word in text), "")
