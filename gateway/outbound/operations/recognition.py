"""`DiagnosticReport/{id}/$recognition`, `Patient/{id}/$recognition`, `Patient/{id}/$alerts`: decided when asked.

Nothing is stored: a verdict holds at the instant it was asked for, for the member the caller sits at.
"""

from __future__ import annotations

from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from ...errors import BadParameter
from ...model.printed import effective_time
from ...model.resource import Json, dumps, loads, reference_id
from ...model.rest import Answer, Call, Seen
from ...model.times import parse_fhir
from ...recognise.decide import patient_parameters, to_parameters
from ..alerts import to_detected_issues
from ..fhir_answers import bundle, current
from ..fhir_parts import FhirParts, Handler, On, Operation
from ..fhir_query import pairs, shape_of
from ..fhir_search import survivor_of
from ..recognition import Judge

_AT = frozenset({"at"})
_AT_OF_ITEMS = frozenset({"at", "code"})
_OWN = "urn:alliance-gateway:operation:"


def recognition_operations(judge: Judge) -> tuple[Operation, ...]:
    """The three operations over one judge."""

    async def of_report(parts: FhirParts, call: Call, on: On) -> Answer:
        """Parameters: verdict, count, end and reasons of one report and each of its items."""
        at = _at(parts, call)
        report = loads(current(await parts.store.read(on.type, on.id, call.who), on.place).body)
        patient = reference_id(report.get("subject"), "Patient")
        record, _ = await judge.record(patient, call.who)
        decided = await judge.decisions(record, [report], call.who, at=at)
        return _answer(to_parameters(decided[0]), on, (patient,) if patient else ())

    async def of_patient(parts: FhirParts, call: Call, on: On) -> Answer:
        """Parameters with one `decision` for each current report, the newest first.

        With `code`, of those items alone: what a HIS asks before it orders them again.
        """
        at, asked = _at(parts, call, _AT_OF_ITEMS), _codes(call)
        person = await _person(parts, call, on)
        record, _ = await judge.record(person, call.who)
        reports = sorted(record.reports, key=_report_time, reverse=True)
        decided = await judge.decisions(record, reports, call.who, at=at)
        if not asked:
            return _answer(patient_parameters(decided), on, (person,))
        items = {text: judge.sheet.asked(text) for text in asked}
        wanted = frozenset(item.code for item in items.values() if item)
        found = [one for decision in decided if (one := decision.only(wanted))]
        unlisted = [text for text, item in items.items() if item is None]
        return _answer(patient_parameters(found, unlisted), on, (person,))

    async def of_alerts(parts: FhirParts, call: Call, on: On) -> Answer:
        """A collection Bundle of DetectedIssues, the gravest first."""
        at = _at(parts, call)
        person = await _person(parts, call, on)
        record, _ = await judge.record(person, call.who)
        issues = to_detected_issues(judge.alerts(record, at=at), person, at=at)
        entries = [_entry(dumps(issue)) for issue in issues]
        links = [("self", f"{call.base}/{on.place}/{on.operation}")]
        body = bundle("collection", entries, links=links, at=parts.store.horizon()[1])
        return Answer(200, body, seen=Seen("E", "operation", (person,), (f"Patient/{person}",), _query(on)))

    return (
        _operation("DiagnosticReport", "$recognition", of_report, "报告及其各项目的互认结论与理由；at 指定判定时刻。"),
        _operation(
            "Patient",
            "$recognition",
            of_patient,
            "居民每份报告的互认结论；code 只问这些项目（互认编码、LOINC 或名称），开单前查询。",
            _AT_OF_ITEMS,
        ),
        _operation("Patient", "$alerts", of_alerts, "危急值、过敏冲突、重复用药、重复检查。"),
    )


def _operation(
    type_: str, code: str, handler: Handler, documentation: str, parameters: frozenset[str] = _AT
) -> Operation:
    definition = f"{_OWN}{type_}-{code.lstrip('$')}"
    return Operation(code, type_, handler, definition, parameters, documentation)


def _entry(issue: bytes) -> bytes:
    """Every entry has an address of its own (R4 bundle.html#bundle-unique); one that is not stored, by what it says."""
    return b'{"fullUrl":"%b","resource":%b}' % (uuid5(NAMESPACE_URL, issue.decode()).urn.encode(), issue)


def _codes(call: Call) -> tuple[str, ...]:
    said = (value for name, value in (pairs(call.query) if call.query else ()) if name == "code")
    return tuple(dict.fromkeys(text.strip() for value in said for text in value.split(",") if text.strip()))


async def _person(parts: FhirParts, call: Call, on: On) -> str:
    """The Patient asked for, or who it was merged into. Raises NotFound, Gone."""
    survivor = await survivor_of(parts.store, on.id, call.who)
    current(await parts.store.read("Patient", survivor or on.id, call.who), on.place)
    return survivor or on.id


def _at(parts: FhirParts, call: Call, known: frozenset[str] = _AT) -> datetime:
    given = pairs(call.query) if call.query else []
    shape_of(given, known, parts.rules(call))
    text = dict(given).get("at", "")
    if not text:
        return parts.clock()
    try:
        return parse_fhir(text.replace(" ", "+"))
    except ValueError as fault:
        raise BadParameter("at", "a FHIR dateTime", detail_zh="应为日期时间。") from fault


def _report_time(report: Json) -> float:
    text = str(report.get("issued") or effective_time(report) or "")
    return parse_fhir(text).timestamp() if text else 0.0


def _answer(parameters: Json, on: On, patients: tuple[str, ...]) -> Answer:
    return Answer(200, dumps(parameters), seen=Seen("E", "operation", patients, (on.place,), _query(on)))


def _query(on: On) -> str:
    return f"{on.place}/{on.operation}"
