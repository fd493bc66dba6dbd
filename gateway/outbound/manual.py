"""`/docs`: the pages of `gateway/docs` and the mapping language, served offline, readable without signing in."""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..errors import NotFound
from ..shipped import shipped
from .pages.render import static_url

DOCS = Path(__file__).parents[1] / "docs"
_LANGUAGE = "../../mappings/README.md"  # as a page links to it in the source; it stands beside the mappings
_NAME = re.compile(r"[a-z0-9-]{1,60}(/[a-z0-9-]{1,60})?")
_TITLE = re.compile(r"^# (.+)$", re.M)
_SHELL = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="{icon}"><link rel="stylesheet" href="{css}"></head>
<body class="manual"><a class="skip-link" href="#main">跳到正文</a>
<header class="masthead"><a class="product" href="/docs">医联体健康档案网关<small>手册</small></a></header>
<main id="main" tabindex="-1"><article class="card"><div class="body prose">{body}</div></article></main>
</body></html>
"""


def manual_routes() -> list[Route]:
    """`/docs`, `/docs/{page}`; links between pages end in `.md` in the source and work here too."""

    async def index(_: Request) -> Response:
        return Response(_page("index"), media_type="text/html")

    async def page(request: Request) -> Response:
        name = str(request.path_params["page"])
        if name.endswith(".md"):
            return RedirectResponse(f"/docs/{name.removesuffix('.md')}")
        return Response(_page(name), media_type="text/html")

    return [Route("/docs", index), Route("/docs/", index), Route("/docs/{page:path}", page)]


@cache
def _page(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise NotFound(f"/docs/{name[:60]}")
    path = shipped("mappings") / "README.md" if name == "mapping" else DOCS / f"{name}.md"
    if not path.is_file():
        raise NotFound(f"/docs/{name[:60]}")
    text = path.read_text(encoding="utf-8").replace(_LANGUAGE, "mapping.md")
    title = _TITLE.search(text)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    told = html.escape(title[1] if title else name)
    return _SHELL.format(title=told, icon=static_url("favicon.svg"), css=static_url("app.css"), body=body)
