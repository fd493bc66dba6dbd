"""A health-records gateway for Chinese medical alliances: member messages in, one FHIR R4 history out."""

__version__ = "0.1.0"
