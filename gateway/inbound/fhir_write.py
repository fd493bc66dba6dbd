"""The writing side of the FHIR door: one interaction, or a Bundle of them."""

from __future__ import annotations

from ..model.rest import Answer, Call
from .fhir_bundle import process
from .fhir_change import Aim, Changes, Find, WriteParts

__all__ = ["FhirWrite", "Find", "WriteParts"]


class FhirWrite:
    """`await write(call, aim)`: effect and audit in one commit (D20)."""

    def __init__(self, parts: WriteParts) -> None:
        self._changes = Changes(parts)

    async def __call__(self, call: Call, aim: Aim) -> Answer:
        """The answer to a create, update, delete or Bundle. Raises GatewayError; nothing was written then."""
        if aim.name == "batch":
            return await process(self._changes, call)
        return await self._changes.single(call, aim)
