"""Pages of one resident: open, write the audit row, derive, render."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from mimetypes import guess_extension
from urllib.parse import quote

from starlette.responses import Response

from ...errors import Gone, NotFound
from ...model.resource import Json, loads, reference_id
from ...recognise.acts import Act
from ...recognise.match import is_lab
from ...store.base import AuditQuery, Resource
from .decisions import act_of, plan_of
from .guard import HEADERS, Handler, Visit, redirect
from .narrative import sections
from .opened import Opened, derive, is_culture, open_resident, survivor_of
from .views_access import access_rows
from .views_banner import banner
from .views_culture import culture_page, culture_reports
from .views_imaging import Step, imaging_page, viewer_page
from .views_labs import Choice, lab_page
from .views_medication import medication_page
from .views_recognise import RECORDED, recognise_page
from .views_report import as_of, report_sheet, result_ids, versions_of
from .views_summary import summary
from .views_visits import document_line, document_title, original_key, visits_page

_MOST_ACCESSES = 200
_MOST_VERSIONS = 50
_SUFFIXES = {"application/xml": "xml", "application/json": "json", "text/csv": "csv", "application/hl7-v2": "hl7"}


class Moved(Exception):
    """The Patient of the address was merged; the survivor answers."""

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to


async def opening(visit: Visit, subtype: str, *, images: bool = False, entity: str = "") -> Opened:
    """The resident of the address, disclosed in the audit log. Raises Moved, NotFound."""
    patient_id = visit.request.path_params["patient"]
    survivor = await survivor_of(visit.parts, visit.who, patient_id)
    if survivor:
        raise Moved(survivor)
    opened = await open_resident(visit.parts, visit.who, patient_id, images=images)
    await visit.disclose(subtype, patients=(patient_id,), entities=(entity or f"Patient/{patient_id}",))
    return opened


def follows_merges(handler: Handler) -> Handler:
    """The page as its caller may see it, or that of the survivor, with a note, when the Patient was merged."""

    async def inner(visit: Visit) -> Response:
        who, until = visit.parts.access.glass.of(visit.who, visit.request.path_params["patient"])
        try:
            return await handler(replace(visit, who=who, glass=until))
        except Moved as moved:
            old = f"/ui/p/{visit.request.path_params['patient']}"
            rest = visit.request.url.path.removeprefix(old)
            return redirect(f"/ui/p/{quote(moved.to)}{quote(rest)}?merged=1")

    return inner


def answer(visit: Visit, opened: Opened, tab: str, title: str, template: str, **values: object) -> Response:
    shown = banner(opened, tab, merged_from="merged" in visit.request.query_params, glass=visit.glass)
    return visit.page(template, banner=shown, page_title=title, base=f"/ui/p/{opened.id}", **values)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 7 else 0


@follows_merges
async def summary_page(visit: Visit) -> Response:
    """`/ui/p/{id}`: the one-page summary."""
    opened = await opening(visit, "summary", images=True)
    return answer(visit, opened, "", "健康摘要", "summary.html", view=summary(opened, derive(visit.parts, opened)))


@follows_merges
async def labs(visit: Visit) -> Response:
    """`/labs?item=&only=abnormal&back=`: the cumulative grid."""
    query = visit.request.query_params
    choice = Choice(query.get("item", ""), query.get("only") == "abnormal", _number(query.get("back", "")))
    opened = await opening(visit, "labs")
    view = lab_page(opened, derive(visit.parts, opened), choice)
    return answer(visit, opened, "labs", "检验累积表", "labs.html", view=view)


@follows_merges
async def cultures(visit: Visit) -> Response:
    """`/cultures`: microbiology with antibiograms and versions."""
    opened = await opening(visit, "cultures")
    versions = {}
    for found in culture_reports(opened):
        rows = await visit.parts.store.history("DiagnosticReport", found["id"], visit.who, count=_MOST_VERSIONS)
        versions[found["id"]] = versions_of(rows, f"/ui/p/{opened.id}/report/{found['id']}", opened.at)
    view = culture_page(opened, derive(visit.parts, opened), versions)
    return answer(visit, opened, "cultures", "微生物", "cultures.html", view=view)


@follows_merges
async def imaging(visit: Visit) -> Response:
    """`/imaging`: examinations by hospital."""
    opened = await opening(visit, "imaging", images=True)
    view = imaging_page(opened, derive(visit.parts, opened))
    return answer(visit, opened, "imaging", "检查", "imaging.html", view=view)


@follows_merges
async def viewer(visit: Visit) -> Response:
    """`/imaging/{ImagingStudy id}?series=&frame=&window=`: one frame."""
    query, study = visit.request.query_params, visit.request.path_params["study"]
    step = Step(_number(query.get("series", "")), _number(query.get("frame", "")), query.get("window", ""))
    opened = await opening(visit, "viewer", images=True, entity=f"ImagingStudy/{study}")
    view = viewer_page(opened, derive(visit.parts, opened), study, step)
    return answer(visit, opened, "imaging", f"影像 {view.title}", "viewer.html", view=view)


@follows_merges
async def medication(visit: Visit) -> Response:
    """`/medication`: current, past, allergies."""
    opened = await opening(visit, "medication")
    view = medication_page(opened, derive(visit.parts, opened))
    return answer(visit, opened, "medication", "用药", "medication.html", view=view)


@follows_merges
async def visits(visit: Visit) -> Response:
    """`/visits`: visits and documents."""
    opened = await opening(visit, "visits")
    return answer(visit, opened, "visits", "就诊与文书", "visits.html", view=visits_page(opened))


@follows_merges
async def recognise(visit: Visit) -> Response:
    """`/recognise?report=`: verdicts, exceptions first, with the text to copy."""
    opened = await opening(visit, "recognise", images=True)
    query = visit.request.query_params
    rules = visit.parts.sheet.title
    view = recognise_page(opened, derive(visit.parts, opened), rules, query.get("report", ""), query.get("said", ""))
    return answer(visit, opened, "recognise", "互认", "recognise.html", view=view)


@follows_merges
async def decide(visit: Visit) -> Response:
    """POST `/recognise`: decision, items, reason and note of one report; then back to it. Raises NotFound."""
    opened = await opening(visit, "recognise")
    asked = visit.form.get("report", "")
    report = next((one for one in opened.record.reports if one["id"] == asked), None)
    if report is None:
        raise NotFound("DiagnosticReport", detail_zh="这位居民没有这份报告，或它已被撤回。")
    act = act_of(visit.form, opened, derive(visit.parts, opened), report)
    if isinstance(act, Act):
        await visit.parts.store.commit(plan_of(act, visit.who))
    said = act if isinstance(act, str) else RECORDED
    return redirect(f"/ui/p/{quote(opened.id)}/recognise?report={quote(asked)}&said={said}#decide")


@follows_merges
async def report(visit: Visit) -> Response:
    """`/report/{DiagnosticReport id}?version=`: the source's report, any of its versions."""
    report_id = visit.request.path_params["report"]
    opened = await opening(visit, "report", entity=f"DiagnosticReport/{report_id}")
    rows = await visit.parts.store.history("DiagnosticReport", report_id, visit.who, count=_MOST_VERSIONS)
    if rows and rows[0].deleted:
        raise Gone("DiagnosticReport", detail_zh="来源删除了这份报告，不作为依据。")
    rows = [row for row in rows if not row.deleted]
    wanted = _number(visit.request.query_params.get("version", "")) or (rows[0].version if rows else 0)
    row = next((r for r in rows if r.version == wanted), None)
    if row is None or reference_id(loads(row.body).get("subject"), "Patient") != opened.id:
        raise NotFound("DiagnosticReport", detail_zh="这位居民没有这份报告，或没有这个版本。")
    body, current = loads(row.body), row is rows[0]
    items = opened.record.items_of(body) if current else await _items_then(visit, row)
    return answer(
        visit,
        opened,
        "imaging" if not is_lab(body) else "cultures" if is_culture(body) else "labs",
        "报告单",
        "report.html",
        view=report_sheet(opened, body, items, current=current),
        versions=versions_of(rows, f"/ui/p/{opened.id}/report/{report_id}", opened.at),
        shown=row.version,
    )


@follows_merges
async def attachment(visit: Visit) -> Response:
    """`/report/{DiagnosticReport id}/attachment/{number}`: a form the source sent inside, as a download."""
    report_id, number = visit.request.path_params["report"], _number(visit.request.path_params["number"])
    opened = await opening(visit, "attachment", entity=f"DiagnosticReport/{report_id}")
    forms = (opened.record.get(f"DiagnosticReport/{report_id}") or {}).get("presentedForm", ())
    data = forms[number].get("data", "") if number < len(forms) else ""
    if not data:
        raise NotFound("Attachment", detail_zh="这份报告没有这个附件。")
    kind = str(forms[number].get("contentType", "")).partition(";")[0]
    return _download(b64decode(data), f"{report_id}-{number + 1}{guess_extension(kind) or '.bin'}")


async def _items_then(visit: Visit, row: Resource) -> list[Json]:
    """The items of an older version as they stood with it."""
    body, out = loads(row.body), []
    for id_ in result_ids(body):
        versions = await visit.parts.store.history("Observation", id_, visit.who, count=_MOST_VERSIONS)
        item = as_of(versions, row, str(body.get("status", "")))
        if item is not None:
            out.append(item)
    return out


@follows_merges
async def document(visit: Visit) -> Response:
    """`/document/{DocumentReference id}`: its sections, cleaned for display."""
    document_id = visit.request.path_params["document"]
    opened = await opening(visit, "document", entity=f"DocumentReference/{document_id}")
    found = _document_of(opened, document_id)
    composition = _composition_of(opened, found)
    return answer(
        visit,
        opened,
        "visits",
        document_title(found),
        "document.html",
        line=document_line(opened, found),
        sections=sections(composition) if composition else (),
    )


def _document_of(opened: Opened, document_id: str) -> Json:
    every = opened.record.every.get("DocumentReference", ())
    found = next((d for d in every if d["id"] == document_id), None)
    if found is None:
        raise NotFound("DocumentReference", detail_zh="这位居民没有这份文书。")
    return found


def _composition_of(opened: Opened, document: Json) -> Json | None:
    """The Composition with the document's own identifier, else the one it points to."""
    number = document.get("masterIdentifier", {}).get("value")
    for composition in opened.record.every.get("Composition", ()):
        if number and composition.get("identifier", {}).get("value") == number:
            return composition
    related = (opened.record.get(ref) for ref in document.get("context", {}).get("related", ()))
    return next((r for r in related if r and r.get("resourceType") == "Composition"), None)


@follows_merges
async def original(visit: Visit) -> Response:
    """`/original/{DocumentReference id}`: the bytes as received, as a download that cannot act."""
    document_id = visit.request.path_params["document"]
    opened = await opening(visit, "original", entity=f"DocumentReference/{document_id}")
    key = original_key(_document_of(opened, document_id))
    kept = await visit.parts.original(key, visit.who) if key else None
    if kept is None:
        raise NotFound("Binary", detail_zh="原始文档已不在保存期内，或您无权查看。")
    return _download(kept.body, f"{document_id}.{_SUFFIXES.get(kept.media, 'txt')}")


def _download(body: bytes, name: str) -> Response:
    headers = {
        **HEADERS,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return Response(body, media_type="application/octet-stream", headers=headers)


@follows_merges
async def access(visit: Visit) -> Response:
    """`/access`: who looked, when, why."""
    opened = await opening(visit, "access")
    found = await visit.parts.store.audits(AuditQuery(patient=opened.id, limit=_MOST_ACCESSES))
    rows = access_rows((row for _, row in found), visit.parts.directory, opened.at)
    return answer(visit, opened, "access", "调阅记录", "access.html", rows=rows)
