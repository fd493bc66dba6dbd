"""What the gateway answers to every HL7 v2 case: `ack.hl7`, as text. Queries come last, over what the others told."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fixtures.cases import Case
from fixtures.times import ANCHOR
from gateway.app import Gateway
from gateway.settings import General, Settings
from gateway.translate.read_v2 import peek_v2


def is_query(case: Case) -> bool:
    """True for a case that asks and tells nothing."""
    return case.name.startswith("qbp_")


def answers(cases: list[Case], home: Path) -> dict[str, str]:
    """Answers by `source/name`; the clock stands at the anchor, so that equal messages get equal answers."""
    asked = sorted((one for one in cases if one.format == "v2"), key=is_query)
    return asyncio.run(_answers(asked, home))


async def _answers(cases: list[Case], home: Path) -> dict[str, str]:
    gateway = await Gateway.open(Settings(gateway=General(home=str(home))), clock=lambda: ANCHOR)
    work = asyncio.create_task(gateway.worker.run())
    out: dict[str, str] = {}
    for case in cases:
        receipt = await gateway.intake.v2(case.body)
        text = receipt.ack.decode(peek_v2(case.body).charset)
        out[f"{case.source}/{case.name}"] = text.replace("\r", "\n")
        if not is_query(case):
            await gateway.worker.drained()
    await gateway.worker.stop()
    await work
    await gateway.shared.close()
    return out
