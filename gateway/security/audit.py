"""Audit rows for every interaction, and how a row reads as FHIR AuditEvents (IHE BALP 1.1).

A row is written once and may name several patients; the profile wants one event a patient, so a row
with n patients renders as n events `<row>-1` … `<row>-n` (design-store §10).
"""

from __future__ import annotations

import base64
from datetime import datetime

from ..errors import GatewayError
from ..model.context import AccessContext
from ..model.resource import Json
from ..model.rest import Seen
from ..model.times import instant_text
from ..store.base import AuditRow
from . import redact

SUCCESS, REFUSED, FAILED = "0", "4", "8"

_TYPES = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_INTERACTION = "http://hl7.org/fhir/restful-interaction"
_LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ENTITY_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_PURPOSE = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_BALP_ENTITY = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_PROFILES = {"R": "Read", "E": "Query", "C": "Create", "U": "Update", "D": "Delete"}
_QUERIES = frozenset({"search", "search-type", "search-system"})

KINDS: dict[str, tuple[str, str, str]] = {
    "rest": (_TYPES, "rest", "RESTful Operation"),
    "page": (_TYPES, "rest", "RESTful Operation"),
    "console": (_TYPES, "rest", "RESTful Operation"),
    "export": (_DCM, "110106", "Export"),
    "query": (_DCM, "110112", "Query"),
    "login": (_DCM, "110114", "User Authentication"),
    "security": (_DCM, "110113", "Security Alert"),
    "merge": (_LIFECYCLE, "merge", "Merge Record Lifecycle Event"),
    "message": (_DCM, "110107", "Import"),
}
"""AuditRow.kind → AuditEvent.type (system, code, display)."""


def audit_row(at: datetime, who: AccessContext, seen: Seen, *, kind: str = "rest", outcome: str = SUCCESS) -> AuditRow:
    """The row for what `who` did; `detail` loses card numbers and phones."""
    return AuditRow(
        at=at,
        action=seen.action,
        kind=kind,
        subtype=seen.subtype,
        outcome=outcome,
        user=who.user,
        display=who.display,
        role=who.role.value,
        member=who.member,
        purpose=who.purpose,
        client=who.client,
        address=who.address,
        request_id=who.request_id,
        patients=seen.patients,
        entities=seen.entities,
        query=seen.query,
        detail=redact.text(seen.detail) if seen.detail else "",
    )


def refused_row(at: datetime, who: AccessContext, seen: Seen, error: GatewayError, *, kind: str = "rest") -> AuditRow:
    """The row for an interaction that failed; the code as its detail."""
    told = Seen(seen.action, seen.subtype, seen.patients, seen.entities, seen.query, f"{error.code} {error.http}")
    return audit_row(at, who, told, kind=kind, outcome=outcome_of(error))


def outcome_of(error: GatewayError | None) -> str:
    """0, 4 for the caller's fault, 8 for ours."""
    if error is None:
        return SUCCESS
    return FAILED if error.http >= 500 else REFUSED


def anonymous_row(
    at: datetime,
    seen: Seen,
    error: GatewayError,
    *,
    address: str,
    request_id: str,
    kind: str = "rest",
    user: str = "",
) -> AuditRow:
    """The row for a caller nobody knows: refused before a context existed. user: who they say they are."""
    return AuditRow(
        at=at,
        action=seen.action,
        kind=kind,
        subtype=seen.subtype,
        outcome=REFUSED,
        user=redact.text(user),
        display="",
        role="",
        member="",
        purpose="",
        address=address,
        request_id=request_id,
        entities=seen.entities,
        detail=f"{error.code} {error.http}",
    )


SIGN_IN, SIGN_OUT = Seen("E", "110122"), Seen("E", "110123")
"""Of a page's user. Source: DICOM PS3.16 CID 403, which 110137 (user security attributes changed) is of too."""


def account_row(at: datetime, user: str, change: str) -> AuditRow:
    """The row for an account that was added, changed or removed in the configuration of a running gateway."""
    return AuditRow(
        at=at, action={"added": "C", "removed": "D"}.get(change, "U"), kind="security", subtype="110137",
        outcome=SUCCESS, user="", display="", role="", member="", purpose="HSYSADMIN", client="gateway.toml",
        detail=f"{change}: {user}",
    )  # fmt: skip


def event_ids(row_id: str, row: AuditRow) -> list[str]:
    """Ids of the events of a row: the row's own, with `-k` when it names several patients."""
    if len(row.patients) < 2:
        return [row_id]
    return [f"{row_id}-{number}" for number in range(1, len(row.patients) + 1)]


def events(row_id: str, row: AuditRow) -> list[Json]:
    """The row as AuditEvents, one a patient."""
    patients = row.patients or ("",)
    return [_event(id_, row, patient) for id_, patient in zip(event_ids(row_id, row), patients, strict=True)]


def _event(id_: str, row: AuditRow, patient: str) -> Json:
    event: Json = {
        "resourceType": "AuditEvent",
        "id": id_,
        "meta": {"versionId": "1", "lastUpdated": instant_text(row.at)},
        "type": _coding(*KINDS.get(row.kind, KINDS["rest"])),
        "subtype": [_subtype(row)],
        "action": row.action,
        "recorded": instant_text(row.at),
        "outcome": row.outcome,
        "agent": _agents(row),
        "source": {
            "site": row.member or "alliance",
            "observer": {"display": "alliance-gateway"},
            "type": [_coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server")],
        },
    }
    profile = _profile(row, patient)
    if profile:
        event["meta"]["profile"] = [profile]
    if row.detail:
        event["outcomeDesc"] = row.detail
    if row.purpose:
        event["purposeOfEvent"] = [{"coding": [_coding(_PURPOSE, row.purpose)]}]
    entities = _entities(row, patient)
    if entities:
        event["entity"] = entities
    return event


def _profile(row: AuditRow, patient: str) -> str:
    name = _PROFILES.get(row.action, "")
    if row.kind != "rest" or row.outcome != SUCCESS or not name or (name == "Query") != (row.subtype in _QUERIES):
        return ""
    return _PROFILE + ("Patient" if patient else "") + name


_SUBTYPES = {
    "login": _DCM,
    "security": _DCM,
    "merge": _LIFECYCLE,
    "page": "urn:alliance-gateway:codesystem:page",
    "message": "urn:alliance-gateway:codesystem:message",
}
"""AuditRow.kind → code system of its subtype, where it is not FHIR's restful-interaction."""


def _subtype(row: AuditRow) -> Json:
    return _coding(_SUBTYPES.get(row.kind, _INTERACTION), row.subtype)


def _agents(row: AuditRow) -> list[Json]:
    # The roles flip: on a read the client is the destination of data, on everything else its source.
    destination, source = _coding(_DCM, "110152", "Destination Role ID"), _coding(_DCM, "110153", "Source Role ID")
    client, server = (destination, source) if row.action == "R" else (source, destination)
    agents = [
        _agent(client, row.client or row.address or "client", row.address),
        _agent(server, "alliance-gateway", ""),
    ]
    if row.user:
        agents.append(_user(row))
    return agents


def _agent(role: Json, display: str, address: str) -> Json:
    network = {"address": address, "type": "2"} if address else {"address": "alliance-gateway", "type": "1"}
    return {"type": {"coding": [role]}, "who": {"display": display}, "requestor": False, "network": network}


def _user(row: AuditRow) -> Json:
    agent: Json = {
        "type": {"coding": [_coding(_PARTICIPATION, "IRCP", "information recipient")]},
        "who": {"identifier": {"value": row.user}, **({"display": row.display} if row.display else {})},
        "requestor": True,
    }
    if row.role:
        agent["role"] = [{"text": row.role}]
    if row.member:
        agent["altId"] = f"{row.user}@{row.member}"
    return agent


def _entities(row: AuditRow, patient: str) -> list[Json]:
    found: list[Json] = []
    if row.query:
        found.append(_query(row.query))
    found += [_data(entity) for entity in row.entities]
    if patient:
        found.append(
            {
                "what": {"reference": f"Patient/{patient}"},
                "type": _coding(_ENTITY_TYPE, "1", "Person"),
                "role": _coding(_ENTITY_ROLE, "1", "Patient"),
            }
        )
    if row.request_id:
        found.append(
            {
                "what": {"identifier": {"value": row.request_id}},
                "type": _coding(_BALP_ENTITY, "XrequestId"),
            }
        )
    return found


def _query(query: str) -> Json:
    return {
        "type": _coding(_ENTITY_TYPE, "2", "System Object"),
        "role": _coding(_ENTITY_ROLE, "24", "Query"),
        "description": redact.query(query),
        "query": base64.b64encode(query.encode()).decode(),
    }


def _data(reference: str) -> Json:
    return {
        "what": {"reference": reference},
        "type": _coding(_ENTITY_TYPE, "2", "System Object"),
        "role": _coding(_ENTITY_ROLE, "4", "Domain Resource"),
    }


def _coding(system: str, code: str, display: str = "") -> Json:
    coding = {"system": system, "code": code}
    if display:
        coding["display"] = display
    return coding
