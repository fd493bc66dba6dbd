"""The writing side of the FHIR door: one interaction, or a Bundle of them."""

from __future__ import annotations

from ..model.rest import Answer, Call
from .fhir_bundle import batch, entries_of
from .fhir_change import Aim, Find, WriteParts
from .fhir_commit import Committer
from .fhir_transaction import transaction

__all__ = ["FhirWrite", "Find", "WriteParts"]


class FhirWrite:
    """`await write(call, aim)`: effect and audit in one commit (D20)."""

    def __init__(self, parts: WriteParts) -> None:
        self._committer = Committer(parts)

    async def __call__(self, call: Call, aim: Aim) -> Answer:
        """The answer to a write or a Bundle. Raises GatewayError; nothing was written then."""
        if aim.name == "batch":
            async with self._committer.parts.preparer.work(call.body) as work:
                found = await entries_of(self._committer, call, work)
                if found.kind == "batch":
                    return await batch(self._committer, found.steps, work.body)
                return await transaction(self._committer, call, found.steps, work)
        return await self._committer.single(call, aim)
