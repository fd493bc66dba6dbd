"""Card numbers and phones made unreadable, for logs, lists and audit descriptions.

Kept readable: enough to recognise one's own number (first 6 and last 4 of a card, first 3 and last 4
of a phone), never enough to use it. GB 11643-1999 (card), MIIT numbering plan (mobile).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

_CARD = re.compile(r"(?<![0-9A-Za-z])(\d{6})(\d{8}|\d{5})(\d{3}[\dXx]|\d{4})(?![0-9A-Za-z])")
_PHONE = re.compile(r"(?<!\d)(?:\+?86[- ]?)?(1[3-9]\d)(\d{4})(\d{4})(?!\d)")
_PERSONAL = re.compile(r"(?i)(^|[?&])((?:name|family|given|phone|telecom|address[a-z-]*|birthdate)(?::[a-z]+)?)=[^&]*")


def card(number: str) -> str:
    """`990101********0115`; a number of another shape keeps its last two characters."""
    if len(number) in (15, 18):
        return number[:6] + "*" * (len(number) - 10) + number[-4:]
    return "*" * max(len(number) - 2, 0) + number[-2:]


def phone(number: str) -> str:
    """`138****5678`; anything shorter than 7 digits becomes stars."""
    digits = number.strip()
    return digits[:3] + "*" * (len(digits) - 7) + digits[-4:] if len(digits) > 7 else "*" * len(digits)


def name(text: str) -> str:
    """`李**`: the surname's first character and as many stars as there are others."""
    return text[:1] + "*" * (len(text) - 1)


def text(value: str) -> str:
    """Any text with the card numbers and mobile phones in it masked."""
    masked = _CARD.sub(lambda m: m[1] + "*" * len(m[2]) + m[3], value)
    return _PHONE.sub(lambda m: m[1] + "****" + m[3], masked)


def query(raw: str) -> str:
    """A request's query, readable, without names, numbers and addresses: for an audit event's description."""
    return text(_PERSONAL.sub(r"\1\2=***", unquote_plus(raw)))
