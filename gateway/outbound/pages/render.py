"""Templates to HTML, and the static files behind the pages.

Every value is escaped by the template engine; an undefined name is an error, so a page can never
silently miss a fact. Static addresses carry a content hash and may be kept for good (ux-facts §4.3).
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
STATIC_BASE = "/ui/static"
_COMMENT = re.compile(rb"/\*.*?\*/", re.S)
_INDENT = re.compile(rb"\n\s+")
_FILE = re.compile(r"[a-z]{1,20}\.(css|js|svg)")
_MEDIA = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@cache
def static_file(name: str) -> tuple[bytes, str, str]:
    """(bytes, media type, content hash) of a file in `static/`; stylesheets lose comments and indents.

    Raises FileNotFoundError for a name that is not one of the shipped files.
    """
    if not _FILE.fullmatch(name):
        raise FileNotFoundError(name)
    path = HERE / "static" / name
    body = path.read_bytes()
    if path.suffix == ".css":
        body = _INDENT.sub(b"\n", _COMMENT.sub(b"", body)).strip() + b"\n"
    return body, _MEDIA[path.suffix], hashlib.blake2b(body, digest_size=6).hexdigest()


def static_url(name: str) -> str:
    """`/ui/static/app.<hash>.css`."""
    stem, _, suffix = name.rpartition(".")
    return f"{STATIC_BASE}/{stem}.{static_file(name)[2]}.{suffix}"


@cache
def environment() -> Environment:
    """The one template environment: autoescape always, strict about names."""
    env = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.globals["static"] = static_url
    env.globals["icons"] = static_url("icons.svg")
    return env


def render(template: str, **values: object) -> str:
    """One page as HTML text."""
    return environment().get_template(template).render(**values)
