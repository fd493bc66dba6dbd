"""A document that replaces another: the older one reads superseded, in whatever order both arrive.

Pure. Source: HL7 CDA R2 relatedDocument (RPLC); FHIR R4 DocumentReference.relatesTo.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..model.resource import Json
from .version import Version, bare, kept, references


def replaced_by(document: Json) -> list[str]:
    """`DocumentReference/id` of what a document says it replaces; never itself, as some senders say of a new issue."""
    targets = [one.get("target", {}) for one in document.get("relatesTo", ()) if one.get("code") == "replaces"]
    own = f"DocumentReference/{document['id']}"
    return [one for one in references(targets, "DocumentReference") if one != own]


def reports_of(document: Json) -> list[str]:
    """`DiagnosticReport/id` of the reports a document was made of."""
    return references(document.get("context", {}).get("related", ()), "DiagnosticReport")


def plan_document(document: Json, stored: Mapping[str, Json], replaced: bool) -> tuple[Version, ...]:
    """Versions for one DocumentReference and the stored ones it replaces.

    replaced: a stored document says it replaces this one, which arrived late. A stored one that was
    superseded stays so: the same document sent again does not come back.
    """
    ref = f"DocumentReference/{document['id']}"
    superseded = replaced or stored.get(ref, {}).get("status") == "superseded"
    status = "superseded" if superseded and document.get("status") == "current" else document.get("status")
    older = [stored[one] for one in replaced_by(document) if stored.get(one, {}).get("status") == "current"]
    new = Version("DocumentReference", document["id"], {**_without_itself(bare(document), ref), "status": status})
    return (*(kept(one, status="superseded") for one in older), new)


def _without_itself(document: Json, ref: str) -> Json:
    """The document without relations to itself."""
    told = document.get("relatesTo", ())
    others = [one for one in told if one.get("target", {}).get("reference") != ref]
    if len(others) == len(told):
        return document
    return {key: value for key, value in {**document, "relatesTo": others}.items() if key != "relatesTo" or others}


def orphaned_reports(document: Json, older: Json) -> list[str]:
    """Reports of a replaced document that the new one does not carry on under the same number."""
    own = set(reports_of(document))
    return [one for one in reports_of(older) if own and one not in own]
