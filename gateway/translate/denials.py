"""What is written where an allergen is asked for: a substance, that there is none, or that nobody knows.

Source: china-standards §2 (过敏史 as free text); HL7 v2.5.1 §3.4.6.3 (AL1-3), §3.4.7.3 (IAM-3).
"""

from __future__ import annotations

import re

_LABEL = re.compile(r"^(?:药物|食物)?过敏史?\s*[:：]\s*")
_NONE = re.compile(
    r"(?:无|否认|没有|未发现|无已知过敏|(?:否认|无)(?:(?!过敏)[^，。；,;对有但除])*过敏史?|-|/"
    r"|[^，。；,;]{0,8}过敏史?\s*[:：]?(?:否认|无)|NK[DFE]?A|No known .{0,8}allerg(?:y|ies))$",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(r"(?:不详|未知|不明|不清楚?|待查|未询问|未提供|过敏史(?:不详|未知|不明))$")


def unlabelled(text: str) -> str:
    """The text without `药物过敏史：` before it."""
    return _LABEL.sub("", text.strip())


def denies(text: str) -> bool:
    """True for a text that says, as a whole, that there is no allergy: `否认药物过敏史`, `NKA`."""
    return bool(_NONE.match(unlabelled(text)))


def leaves_open(text: str) -> bool:
    """True for a text that says that nobody knows: `不详`."""
    return bool(_UNKNOWN.match(unlabelled(text)))
