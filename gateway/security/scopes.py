"""What each role reaches: resource types, doors, members; and why it asks.

The roles are the product's; SMART v2 scope texts are derived for CapabilityStatement and audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ..errors import BadParameter, Forbidden
from ..model.context import EVERY_LABEL, AccessContext, Role
from ..model.directory import Directory
from .tokens import Credential


class Door(StrEnum):
    """Groups of addresses a role can be let into."""

    FHIR = "fhir"
    PUSH = "push"
    PAGES = "ui"
    CONSOLE = "console"
    CDS = "cds"
    DICOM_IN = "dicom-in"
    DICOM_OUT = "dicom-out"
    METRICS = "metrics"


_CLINICAL = (
    "AllergyIntolerance Appointment Basic Binary BodyStructure CarePlan CareTeam ClinicalImpression Communication "
    "CommunicationRequest Composition Condition Consent Contract Coverage DetectedIssue Device DeviceUseStatement "
    "DiagnosticReport DocumentManifest DocumentReference Encounter Endpoint EpisodeOfCare FamilyMemberHistory Flag "
    "Goal HealthcareService ImagingStudy Immunization List Location Media Medication MedicationAdministration "
    "MedicationDispense MedicationRequest MedicationStatement NutritionOrder Observation Organization Patient "
    "Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse RelatedPerson "
    "RequestGroup RiskAssessment Schedule ServiceRequest Slot Specimen Substance Task VisionPrescription "
    "CodeSystem ValueSet ConceptMap StructureDefinition OperationDefinition"
)
CLINICAL = frozenset(_CLINICAL.split())
"""What a doctor may read; AuditEvent is not among them."""


@dataclass(frozen=True, slots=True)
class Reach:
    """types/write_types as in AccessContext (None = all); doors the role may pass; the default purpose of use."""

    types: frozenset[str] | None
    write_types: frozenset[str] | None
    doors: frozenset[Door]
    purpose: str
    scopes: str


REACH: dict[Role, Reach] = {
    Role.DOCTOR: Reach(
        CLINICAL, frozenset(), frozenset({Door.FHIR, Door.PAGES, Door.CDS, Door.DICOM_OUT}), "TREAT", "user/*.rs"
    ),
    Role.VENDOR: Reach(
        frozenset(), frozenset(), frozenset({Door.PUSH, Door.CONSOLE, Door.DICOM_IN}), "HOPERAT", "system/push"
    ),
    Role.PLATFORM: Reach(None, frozenset(), frozenset({Door.FHIR, Door.DICOM_OUT}), "PUBHLTH", "system/*.rs"),
    Role.ADMIN: Reach(None, None, frozenset(Door), "HOPERAT", "system/*.*"),
    Role.MONITOR: Reach(frozenset(), frozenset(), frozenset({Door.METRICS}), "HSYSADMIN", ""),
}

PURPOSES = frozenset({"TREAT", "ETREAT", "BTG", "HPAYMT", "HOPERAT", "PUBHLTH", "PATRQT", "HRESCH", "HSYSADMIN"})
"""v3-PurposeOfUse codes a caller may state."""


def standing(found: Credential, directory: Directory, at: datetime) -> AccessContext:
    """What of a caller's context is the same in every request of a day."""
    reach = REACH[found.role]
    return AccessContext(
        user=found.user,
        display=found.display,
        role=found.role,
        member=found.member,
        alliance=found.alliance or _outermost(found.member, directory, at),
        purpose=reach.purpose,
        types=reach.types,
        write_types=reach.write_types,
        members=_members(found, directory, at),
        labels=EVERY_LABEL if found.role in {Role.ADMIN, Role.PLATFORM} else 0,
    )


def for_request(who: AccessContext, *, purpose: str, client: str, address: str, request_id: str) -> AccessContext:
    """The standing context with the facts of one request. Raises BadParameter for an unknown purpose of use."""
    if purpose and purpose not in PURPOSES:
        raise BadParameter(
            "X-Purpose-Of-Use",
            "one of " + " ".join(sorted(PURPOSES)),
            detail_zh="只能是 " + "、".join(sorted(PURPOSES)) + "。",
        )
    return AccessContext(
        user=who.user,
        display=who.display,
        role=who.role,
        member=who.member,
        alliance=who.alliance,
        purpose=purpose or who.purpose,
        types=who.types,
        write_types=who.write_types,
        members=who.members,
        labels=who.labels,
        client=client,
        address=address,
        request_id=request_id,
    )


def allow(who: AccessContext, door: Door) -> AccessContext:
    """`who`, when the role may pass this door. Raises Forbidden."""
    if door not in REACH[who.role].doors:
        raise Forbidden(f"/{door.value}", f"role {who.role.value}", detail_zh=f"角色 {who.role.value}")
    return who


def _members(found: Credential, directory: Directory, at: datetime) -> frozenset[str] | None:
    if found.members is not None:
        return found.members
    if not found.member and not found.alliance:
        return None
    keys = [found.alliance] if found.alliance else directory.alliances_of(found.member, at)
    own = frozenset({found.member} - {""}).union(*(directory.within(key, at) for key in keys))
    # The whole directory needs no filter: rows without member (made by the gateway itself) stay visible too.
    return None if own >= frozenset(directory.members) else own


def _outermost(member: str, directory: Directory, at: datetime) -> str:
    keys = directory.alliances_of(member, at)
    return max(keys, key=lambda key: (len(directory.within(key, at)), key), default="")
