"""All addresses of the doctor pages."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from ...errors import NotFound
from .guard import Visit, guarded
from .parts import PageParts
from .render import static_file
from .routes_glass import break_glass, glass_form
from .routes_home import home, search, signin_form, signin_post, signout
from .routes_resident import (
    access,
    attachment,
    cultures,
    decide,
    document,
    imaging,
    labs,
    medication,
    original,
    recognise,
    report,
    summary_page,
    viewer,
    visits,
)
from .routes_statistics import statistics, statistics_csv

_RESIDENT = {
    "": summary_page,
    "/visits": visits,
    "/labs": labs,
    "/cultures": cultures,
    "/imaging": imaging,
    "/imaging/{study}": viewer,
    "/medication": medication,
    "/recognise": recognise,
    "/report/{report}": report,
    "/report/{report}/attachment/{number}": attachment,
    "/document/{document}": document,
    "/original/{document}": original,
    "/access": access,
    "/glass": glass_form,
}


def page_routes(parts: PageParts) -> list[Route | Mount]:
    """Routes below `/ui`, most exact first; the last one answers every unknown address in words."""
    routes: list[Route | Mount] = [
        Route("/ui", _to_start, methods=["GET"]),
        Route("/ui/", guarded(parts, home), methods=["GET"]),
        Route("/ui/search", guarded(parts, search), methods=["GET", "POST"]),
        Route("/ui/recognition", guarded(parts, statistics), methods=["GET"]),
        Route("/ui/recognition.csv", guarded(parts, statistics_csv), methods=["GET"]),
        Route("/ui/signin", signin_form(parts), methods=["GET"]),
        Route("/ui/signin", signin_post(parts), methods=["POST"]),
        Route("/ui/signout", signout(parts), methods=["POST"]),
        Route("/ui/static/{name}", static, methods=["GET"]),
    ]
    routes += [
        Route("/ui/p/{patient}" + path, guarded(parts, handler), methods=["GET"]) for path, handler in _RESIDENT.items()
    ]
    routes.append(Route("/ui/p/{patient}/recognise", guarded(parts, decide), methods=["POST"]))
    routes.append(Route("/ui/p/{patient}/glass", guarded(parts, break_glass), methods=["POST"]))
    return [*routes, Route("/ui/{rest:path}", guarded(parts, _unknown), methods=["GET", "POST"])]


async def _to_start(request: Request) -> Response:
    return RedirectResponse("/ui/", 308)


async def _unknown(visit: Visit) -> Response:
    raise NotFound(visit.request.url.path)


async def static(request: Request) -> Response:
    """A shipped file by its hashed name, to be kept for good; another hash answers 404, never old content."""
    stem, _, rest = request.path_params["name"].partition(".")
    wanted, _, suffix = rest.rpartition(".")
    try:
        body, media, digest = static_file(f"{stem}.{suffix}")
    except FileNotFoundError:
        return Response(status_code=404)
    if wanted != digest:
        return Response(status_code=404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(body, media_type=media, headers=headers)
