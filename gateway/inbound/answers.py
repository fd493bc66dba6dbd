"""Which acknowledgements a message is owed: original or enhanced mode, one or a batch.

Source: HL7 v2.5.1 §2.9.2 (original), §2.9.3 (enhanced, MSH-15 and MSH-16, table 0155), §2.10.3 (batches), table 0008.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from ..errors import GatewayError
from ..model.outcome import Outcome, State
from ..model.times import CHINA
from ..translate.read_v2 import Peek, split_batch

_ACCEPT = {"AA": "CA", "AE": "CE", "AR": "CR"}


def enhanced(peek: Peek) -> bool:
    """True when the sender chose its acknowledgements itself."""
    return bool(peek.accept or peek.application)


def owed(condition: str, *, good: bool) -> bool:
    """Table 0155: AL always, ER on error, SU on success; NE and empty never."""
    return condition == "AL" or condition == ("SU" if good else "ER")


def accept_code(code: str) -> str:
    """CA, CE, CR for AA, AE, AR."""
    return _ACCEPT[code]


def fault_of(outcome: bytes) -> GatewayError | None:
    """Why a message was quarantined; None for one that was processed."""
    found = msgspec.json.decode(outcome, type=Outcome)
    if found.state is not State.QUARANTINED:
        return None
    worst = next((one for one in found.findings if one.severity in ("error", "fatal")), None)
    return GatewayError.of(worst.code, worst.place) if worst else GatewayError()


def is_batch(body: bytes) -> bool:
    """True for a file or batch header before the first message."""
    return body.lstrip(b"\x0b\xef\xbb\xbf \t\r\n")[:3] in (b"FHS", b"BHS")


def batch_ack(body: bytes, acks: Sequence[bytes], now: datetime) -> bytes:
    """BHS with sender and receiver changed over and BHS-12 naming the batch, every answer, BTS with their number.

    BTS-2 says where the batch announced another number of messages than came: one of them may be lost on the way.
    """
    start = body.find(b"BHS")
    head = body[start if start >= 0 else body.find(b"FHS") :].split(b"\r", 1)[0].split(b"\n", 1)[0]
    bar = head[3:4] or b"|"
    fields = head.split(bar) + [b""] * 12
    stamp = now.astimezone(CHINA).strftime("%Y%m%d%H%M%S").encode()
    sent = [
        b"BHS",
        fields[1],
        fields[4],
        fields[5],
        fields[2],
        fields[3],
        stamp,
        b"",
        b"",
        b"",
        b"A" + fields[10],
        fields[10],
    ]
    trailer = [b"BTS", str(len(acks)).encode(), *_miscounted(body, bar)]
    return bar.join(sent) + b"\r" + b"".join(acks) + bar.join(trailer) + b"\r"


_TRAILER = re.compile(rb"[\r\n]BTS(.)[ ]*(\d{1,9})[^\d\r\n]*")


def _miscounted(body: bytes, bar: bytes) -> list[bytes]:
    """BTS-2 of the answer, in ASCII whatever the charset; nothing where the counts agree or none was announced."""
    announced = [int(found[2]) for found in _TRAILER.finditer(body) if found[1] == bar]
    came = len(split_batch(body))
    return [f"{sum(announced)} announced, {came} received".encode()] if announced and sum(announced) != came else []
