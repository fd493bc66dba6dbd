"""The named operations of the FHIR door."""

from __future__ import annotations
