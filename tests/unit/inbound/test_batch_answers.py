"""The answer to a batch: how many came, and whether that is how many were sent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.inbound.answers import batch_ack

NOW = datetime(2026, 3, 20, tzinfo=UTC)
TWO = b"FHS|^~\\&|A\rBHS|^~\\&|A\rMSH|^~\\&|A|1\rMSH|^~\\&|A|2\r"


@pytest.mark.parametrize(
    ("trailer", "said"),
    [
        (b"BTS|3\rFTS|1\r", b"BTS|2|3 announced, 2 received\r"),
        (b"BTS|2\rFTS|1\r", b"BTS|2\r"),
        (b"BTS|1\rBTS|1\rFTS|2\r", b"BTS|2\r"),
        (b"BTS\r", b"BTS|2\r"),
        (b"", b"BTS|2\r"),
    ],
)
def test_a_batch_of_which_a_message_is_missing_is_told_so(trailer: bytes, said: bytes) -> None:
    assert batch_ack(TWO + trailer, [b"MSA|AA|1\r", b"MSA|AA|2\r"], NOW).endswith(said)
