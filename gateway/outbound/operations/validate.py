"""`$validate`: what a write of this resource would be told, and what a second checker makes of it. Stores nothing.

The resource is the body, or a parameter of it; without a body the stored one is looked at. Whatever is found is an
OperationOutcome under status 200. Source: FHIR R4 resource-operation-validate.html.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec

from ...errors import BadParameter, GatewayError, Invalid, Unparseable, UnsupportedMedia, operation_outcome
from ...model.json_fault import JSON_FAULTS, unparseable
from ...model.outcome import Finding
from ...model.resource import dumps
from ...model.rest import FHIR_JSON, Answer, Call, Seen, is_json
from ...validate.structure import check, deep_check
from ..fhir_answers import current
from ..fhir_parts import FhirParts, On, Operation
from ..fhir_query import pairs

_MODES = ("create", "update", "delete")
_GOOD = Finding("GW-VAL-001", "information", "", "没有发现问题。", "No fault was found.")


class _Parameter(msgspec.Struct):
    name: str = ""
    resource: msgspec.Raw = msgspec.Raw(b"null")
    valueCode: str = ""
    valueUri: str = ""
    valueCanonical: str = ""


class _Body(msgspec.Struct):
    resourceType: str = ""
    parameter: list[_Parameter] = []


_body = msgspec.json.Decoder(_Body)


async def validate(parts: FhirParts, call: Call, on: On) -> Answer:
    """Every fault and remark with its path; one remark where there is none.

    Raises Unparseable, UnsupportedMedia, BadParameter for another type, a mode or a profile that is not known here.
    """
    given = dict(pairs(call.query))
    body, patient = call.body, ""
    if body:
        if not is_json(call.header("content-type") or FHIR_JSON):
            raise UnsupportedMedia("Content-Type")
        body, said = _given(body, on.type)
        given |= said
    elif on.id:
        stored = current(await parts.store.read(on.type, on.id, call.who), on.place)
        body, patient = stored.body, stored.patient
    _settle(given)
    findings = await asyncio.to_thread(_looked_at, on.type, body)
    counted = f"{sum(one.severity == 'error' for one in findings)} faults"
    seen = Seen("E", "operation", (patient,) if patient else (), (on.place,), f"{on.place}/$validate", counted)
    return Answer(200, dumps(operation_outcome(*(findings or (_GOOD,)))), seen=seen)


def _given(body: bytes, type_: str) -> tuple[bytes, dict[str, str]]:
    """The resource as its bytes came, and what is said beside it."""
    try:
        whole = _body.decode(body)
    except msgspec.ValidationError:
        return body, {}  # no Parameters in order: a resource with faults
    except JSON_FAULTS as fault:
        raise unparseable(body, fault) from None
    sent = {one.name: one for one in whole.parameter}
    if whole.resourceType != "Parameters" or (type_ == "Parameters" and "resource" not in sent):
        return body, {}
    said = {name: one.valueCode or one.valueUri or one.valueCanonical for name, one in sent.items()}
    resource = bytes(sent["resource"].resource) if "resource" in sent else b""
    return resource, {name: value for name, value in said.items() if name != "resource"}


def _settle(given: dict[str, str]) -> None:
    if (mode := given.get("mode")) and mode not in _MODES:
        raise BadParameter("mode", f"one of {', '.join(_MODES)}", detail_zh=f"应为 {'、'.join(_MODES)} 之一。")
    if given.get("profile"):
        raise BadParameter("profile", "R4 itself is checked, no profile", detail_zh="只按 R4 本身检查，不按 profile。")


def _looked_at(type_: str, body: bytes) -> list[Finding]:
    """Our faults alone, or our remarks and what the second checker says: warnings, for its models are those of R4B."""
    try:
        _, remarks = check(type_, body)
    except Unparseable:
        raise
    except Invalid as fault:
        return list(fault.findings)
    except GatewayError as fault:
        return [fault.finding()]
    return [*remarks, *(replace(one, severity="warning") for one in deep_check(body))]


VALIDATE = Operation(
    "$validate",
    "",
    validate,
    "http://hl7.org/fhir/OperationDefinition/Resource-validate",
    frozenset({"mode", "profile"}),
    "按 R4 检查一个资源，不存储。",
    ("type", "instance"),
)
"""On every type."""
