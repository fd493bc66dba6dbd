"""Who sent a message: told when it came, or found by its sender once somebody has configured it."""

from __future__ import annotations

from ..errors import UnknownSource
from ..model.directory import Directory, Source
from ..model.message import RawMessage
from .read_v2 import peek_v2


def sender_of(raw: RawMessage, directory: Directory) -> Source:
    """The source of a kept message; where nobody was known when an HL7 v2 message came, who sends under its name now.

    One who has to show a certificate showed none for it. Raises UnknownSource, and what a broken envelope raises.
    """
    source = directory.sources.get(raw.source)
    if source is not None:
        return source
    if raw.source or raw.format != "v2":
        raise UnknownSource(raw.source)
    peek = peek_v2(raw.body)
    found = directory.sender(peek.msh3, peek.msh4)
    if found is None:
        zh = "还没有来源使用这条消息的 MSH-3、MSH-4：登记并启用后再重新处理。"
        raise UnknownSource(
            "MSH-3, MSH-4", "nobody sends under these names yet: configure the source first", detail_zh=zh
        )
    if found.settings.get("certificate"):
        zh = f"{found.name} 须出示证书，收到时没有认出它：请对方重发。"
        raise UnknownSource("MSH-3, MSH-4", f"{found.name} has to show a certificate: have it sent again", detail_zh=zh)
    return found
