"""All addresses of the vendor console."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ...errors import BadParameter, NotFound, TooLarge
from ...inbox.queue import Entry, newest
from ...model.directory import Source
from ...model.message import RawMessage
from ...model.outcome import Outcome, State
from ...security.scopes import Door
from ...translate.sources import SANDBOX
from ..pages.guard import Endpoint, Visit, guarded, redirect
from . import causes, dicom, gaps, glass, mappings, original, people
from .parts import ConsoleParts, Desk
from .samples import SAMPLES, sample, text_of
from .trying import Tried, try_text
from .views_messages import counted, message, row
from .views_try import try_view
from .words import STATES

PAGE_ROWS = 50
TEXT_BYTES = 256 * 1024
_FORM_BYTES = 3 * TEXT_BYTES + 4096  # every byte of the text may arrive as %XX
_CHARSETS = (("", "按声明，没有声明按 UTF-8"), ("utf-8", "UTF-8"), ("gb18030", "GB18030"))

Handler = Callable[[Desk], Awaitable[Response]]


def console_routes(parts: ConsoleParts) -> list[Route]:
    """Routes below `/console`, most exact first; the last one answers every unknown address in words."""

    def at(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, _endpoint(parts, handler), methods=[method])

    return [
        Route("/console", _to_start, methods=["GET"]),
        at("/console/", log),
        at("/console/m/{key}", one_message),
        at("/console/m/{key}/replay", replay, "POST"),
        at("/console/try", try_form),
        at("/console/try", try_post, "POST"),
        at("/console/gaps", gaps.gaps),
        at("/console/groups", causes.causes),
        at("/console/groups", causes.redrive, "POST"),
        at("/console/dicom", dicom.dicom),
        at("/console/glass", glass.glass),
        at("/console/people", people.people),
        at("/console/people/{task}", people.decide, "POST"),
        at("/console/people/{task}/undo", people.undo, "POST"),
        at("/console/mappings", mappings.mappings),
        at("/console/mappings", mappings.attempt, "POST"),
        at("/console/{rest:path}", _unknown),
    ]


def _endpoint(parts: ConsoleParts, handler: Handler) -> Endpoint:
    async def handle(visit: Visit) -> Response:
        return await handler(Desk(visit, parts))

    return guarded(parts.pages, handle, Door.CONSOLE, _FORM_BYTES)


async def _to_start(request: Request) -> Response:
    return RedirectResponse("/console/", 308)


async def _unknown(desk: Desk) -> Response:
    raise NotFound(desk.visit.request.url.path[:60])


# ---- messages -----------------------------------------------------------------------------------
async def log(desk: Desk) -> Response:
    """`/console/?state=&source=&reason=&before=`."""
    asked = {name: desk.visit.request.query_params.get(name, "") for name in ("state", "source", "reason", "before")}
    entries = await _entries(desk, asked, PAGE_ROWS + 1)
    shown = entries[:PAGE_ROWS]
    done = await desk.outcomes(shown)
    kept = {name: value for name, value in asked.items() if value and name != "before"}
    older = urlencode(kept | {"before": shown[-1].key}) if len(entries) > PAGE_ROWS else ""
    now, directory = desk.visit.parts.clock(), desk.parts.mappings.directory
    await desk.visit.disclose("log", entities=(), query=urlencode(asked))
    return desk.page(
        "log.html",
        tab="log",
        asked=asked,
        newest="?" + urlencode(kept) if asked["before"] else "",
        older=f"?{older}" if older else "",
        rows=[row(entry, done.get(entry.key), directory, now) for entry in shown],
        states=[(state.value, STATES[state].text) for state in State],
        sources=[(source.name, source.title or source.name) for source in _shown_sources(desk)],
        reasons=sorted(await desk.parts.inbox.messages.reasons()),
        counts=await _counts(desk),
    )


async def _entries(desk: Desk, asked: dict[str, str], limit: int) -> list[Entry]:
    """Messages of the caller, newest first. Raises BadParameter for a state that is none."""
    if asked["state"] not in ("", *State):
        raise BadParameter("state", "one of " + ", ".join(State), detail_zh="没有这种状态。")
    state = State(asked["state"]) if asked["state"] else None
    if asked["reason"] and state is None:
        state = State.QUARANTINED  # only those have a reason, and only they are indexed by it
    messages, own, reason, before = desk.parts.inbox.messages, desk.sources(), asked["reason"], asked["before"]
    if own is None:
        return await messages.entries(state=state, source=asked["source"], reason=reason, before=before, limit=limit)
    wanted = [name for name in own if asked["source"] in ("", name)]
    return await newest(messages, wanted, state=state, reason=reason, before=before, limit=limit)


def _shown_sources(desk: Desk) -> list[Source]:
    own = desk.sources()
    known = desk.parts.mappings.directory.sources if own is None else own
    return [source for source in known.values() if source.name != SANDBOX]


async def _counts(desk: Desk) -> object:
    messages, sources = desk.parts.inbox.messages, _shown_sources(desk)
    newest = {source.name: await messages.entries(source=source.name, limit=1) for source in sources}
    last = {name: found[0].at for name, found in newest.items() if found}
    readings = await messages.positions.readings()
    return counted(sources, await messages.counts(), last, readings, desk.visit.parts.clock())


async def one_message(desk: Desk) -> Response:
    """`/console/m/{key}`; the audit row names everybody the message is about."""
    entry = await desk.entry(desk.visit.request.path_params["key"])
    outcome = (await desk.outcomes([entry])).get(entry.key)
    await _disclose(desk, entry, outcome, "message", "R")
    directory, now = desk.parts.mappings.directory, desk.visit.parts.clock()
    return desk.page(
        "one.html",
        tab="log",
        message=message(entry, outcome, directory, now, links=desk.admin),
        original=await _original(desk, entry, outcome),
        dicom=entry.format == "dicom",
        masked=not desk.admin,
        replayed="replayed" in desk.visit.request.query_params,
    )


async def _original(desk: Desk, entry: Entry, outcome: Outcome | None) -> original.Original:
    raw = await desk.parts.inbox.messages.raw(entry.key)
    known = desk.parts.mappings.directory.sources.get(entry.source)
    findings = outcome.findings if outcome else ()
    wrong = [one.place for one in findings if one.severity in ("error", "fatal")]
    marks = original.marks_of(outcome.unused if outcome else (), wrong, [one.place for one in findings])
    empty = RawMessage(entry.key, entry.source, entry.format, b"", entry.at)
    return original.read(raw or empty, known.charset if known else "auto", marks, {}, masked=not desk.admin)


async def _disclose(desk: Desk, entry: Entry, outcome: Outcome | None, subtype: str, action: Literal["R", "E"]) -> None:
    made = outcome.resources if outcome else ()
    patients = tuple(one.removeprefix("Patient/") for one in made if one.startswith("Patient/"))
    await desk.visit.disclose(subtype, patients=patients, entities=(f"Binary/{entry.key}",), action=action)


async def replay(desk: Desk) -> Response:
    """POST: process it again with today's mapping; one that waits already is left alone."""
    entry = await desk.entry(desk.visit.request.path_params["key"])
    await _disclose(desk, entry, (await desk.outcomes([entry])).get(entry.key), "replay", "E")
    if entry.state is not State.RECEIVED:
        await desk.parts.inbox.replay([entry.key])
    return redirect(f"/console/m/{entry.key}?replayed")


# ---- trying -------------------------------------------------------------------------------------
async def try_form(desk: Desk) -> Response:
    """`/console/try`, empty or with a sample already tried."""
    chosen = desk.visit.request.query_params.get("sample", "")
    if not chosen:
        return _try_page(desk, "", SANDBOX, "", "", None)
    one = sample(chosen)
    source = _source(desk, one.source, instead=SANDBOX)
    text = text_of(one, desk.parts.samples, desk.visit.parts.clock())
    return _try_page(desk, text, source.name, one.charset, chosen, await _tried(desk, source, text, one.charset))


async def try_post(desk: Desk) -> Response:
    """What was pasted. Raises TooLarge above 256 KB of text."""
    text, charset = desk.visit.form.get("text", ""), desk.visit.form.get("charset", "")
    if len(text.encode("utf-8", "replace")) > TEXT_BYTES:
        raise TooLarge("text", f"> {TEXT_BYTES}", detail_zh="试译的内容不能超过 256 KB。")
    if charset not in dict(_CHARSETS):
        raise BadParameter("charset", detail_zh="没有这种字符集。")
    source = _source(desk, desk.visit.form.get("source", SANDBOX))
    tried = await _tried(desk, source, text, charset) if text.strip() else None
    return _try_page(desk, text, source.name, charset, "", tried)


def _choices(desk: Desk) -> dict[str, Source]:
    sources = {source.name: source for source in _shown_sources(desk) if source.format != "dicom"}
    return sources | {SANDBOX: desk.parts.mappings.directory.sources[SANDBOX]}


def _source(desk: Desk, name: str, instead: str = "") -> Source:
    choices = _choices(desk)
    found = choices.get(name) or choices.get(instead)
    if found is None:
        raise BadParameter("source", detail_zh="没有这个来源，或不属于您的机构。")
    return found


async def _tried(desk: Desk, source: Source, text: str, charset: str) -> Tried:
    """Away from the loop: the first try of a kind compiles its map."""
    await desk.visit.disclose("try", entities=(f"source/{source.name}",), action="E")
    now = desk.visit.parts.clock()
    return await asyncio.to_thread(try_text, desk.parts.mappings, source, text, charset, now)


def _try_page(desk: Desk, text: str, source: str, charset: str, chosen: str, tried: Tried | None) -> Response:
    return desk.page(
        "try.html",
        tab="try",
        text=text,
        source=source,
        charset=charset,
        chosen=chosen,
        samples=SAMPLES,
        sources=[(one.name, one.title or one.name) for one in _choices(desk).values()],
        charsets=_CHARSETS,
        view=try_view(tried) if tried else None,
    )
