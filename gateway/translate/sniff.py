"""What a body is, from its first bytes, for doors that take every format."""

from __future__ import annotations

import re

_CDA_ID = re.compile(rb"<(?:\w+:)?ClinicalDocument\b.*?<(?:\w+:)?id\b([^>]*)>", re.DOTALL)
_ROOT = re.compile(rb"\broot\s*=\s*[\"']([^\"']*)")
_EXTENSION = re.compile(rb"\bextension\s*=\s*[\"']([^\"']*)")
_HEAD = 16_384


def sniff(body: bytes) -> str:
    """v2, cda, dicom, json or csv. Anything that is nothing else is csv."""
    if body[128:132] == b"DICM":
        return "dicom"
    start = body[:64].lstrip(b"\x0b\xef\xbb\xbf\xff\xfe\0 \t\r\n")
    if start[:3] in (b"MSH", b"FHS", b"BHS") or start.startswith(b"M\0S\0H"):
        return "v2"
    if start[:1] == b"<" or start.startswith(b"<\0"):
        return "cda"
    return "json" if start[:1] in (b"{", b"[") else "csv"


def document_id(body: bytes, form: str) -> str:
    """The sender's own id: `root^extension` of a CDA document; "" when none.

    An image has none: an archive sends a header again under the same UID, with an accession number given later.
    """
    if form == "cda":
        found = _CDA_ID.search(body[:_HEAD])
        parts = [pattern.search(found[1]) for pattern in (_ROOT, _EXTENSION)] if found else []
        return "^".join(part[1].decode("utf-8", "replace") for part in parts if part)
    return ""
