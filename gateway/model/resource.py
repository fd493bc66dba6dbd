"""JSON in and out without losing a digit: numbers with a fraction are Decimal, text stays as sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import msgspec

Json = dict[str, Any]

_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON; a Decimal is written with the digits it carries (`1.10` stays `1.10`)."""
    return _encoder.encode(value)


def loads(body: bytes | str) -> Json:
    """JSON as dict; every number with a fraction or exponent is a Decimal. Raises msgspec.DecodeError."""
    return cast(Json, _decoder.decode(body))


def type_and_id(ref: str) -> tuple[str, str]:
    """(type, id) of `Type/id`."""
    type_, _, id_ = ref.partition("/")
    return type_, id_


def reference_id(reference: object, of_type: str) -> str:
    """The id in `Patient/abc` (or an absolute url ending so); "" when it points elsewhere."""
    if not isinstance(reference, dict):
        return ""
    head, found, tail = str(reference.get("reference", "")).rpartition(of_type + "/")
    return tail.split("/")[0] if found and (not head or head.endswith("/")) else ""
