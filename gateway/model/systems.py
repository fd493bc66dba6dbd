"""URIs of identifiers, code systems and extensions, in one place. Source: china-standards (OID tables)."""

from __future__ import annotations

_CN = "urn:oid:2.16.156.10011."
ID_CARD = _CN + "1.3"  # 居民身份证号
HEALTH_CARD = _CN + "1.19"  # 居民健康卡号
HEALTH_RECORD_NUMBER = _CN + "1.2"
OUTPATIENT_NUMBER = _CN + "1.11"  # 门(急)诊号/就诊流水号
INPATIENT_NUMBER = _CN + "1.12"
MEDICAL_RECORD_NUMBER = _CN + "1.13"
SPECIMEN_NUMBER = _CN + "1.14"
PRESCRIPTION_NUMBER = _CN + "1.20"
REQUEST_NUMBER = _CN + "1.24"  # 电子申请单编号
EXAM_REPORT_NUMBER = _CN + "1.32"
LAB_REPORT_NUMBER = _CN + "1.33"
DOCUMENT_NUMBER = _CN + "1.1"
DOCUMENT_TYPE = _CN + "2.4"
ORGANIZATION_CODE = _CN + "1.5"
ICD10_CN = _CN + "2.3.3.11"
ICD9_CN = _CN + "2.3.3.12"
DICOM_UID = "urn:dicom:uid"

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
V2_0074 = "http://terminology.hl7.org/CodeSystem/v2-0074"
V2_0490 = "http://terminology.hl7.org/CodeSystem/v2-0490"
V2_0493 = "http://terminology.hl7.org/CodeSystem/v2-0493"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
CONDITION_CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"
ALLERGY_CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
ALLERGY_VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
BIRTH_TIME = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"  # Patient.birthDate, valueDateTime

_OWN = "urn:alliance-gateway:"
EXT_VERIFIED_AT = _OWN + "extension:verified-at"  # DiagnosticReport, valueDateTime: 审核时间
EXT_FINDINGS = _OWN + "extension:findings"  # DiagnosticReport, valueString: 检查所见
EXT_CRITICAL_NOTICE = _OWN + "extension:critical-notice"  # Observation: parts told (string), at (dateTime)
EXT_FRAMES = _OWN + "extension:frames"  # ImagingStudy.series.instance, valuePositiveInt: of a multi-frame image
EXT_REJECTED = _OWN + "extension:rejected"  # ImagingStudy, valueUri: an instance a rejection note took back
EXT_ID_KIND = _OWN + "extension:id-kind"  # Patient.identifier, valueCode: CV02.01.101
EXT_UNVERIFIED = _OWN + "extension:unverified"  # Patient.identifier, valueString: why (D22)
MOTHERS_CARD = _OWN + "number:mothers-id-card"  # a newborn's 母亲身份证: never found as the mother's own
EXT_SAID_AT = _OWN + "extension:said-at"  # meta.extension, valueInstant: when the newest message about it was written
EXT_TOLD = _OWN + "extension:told"  # meta.extension: elements (string) told at (instant), or not told yet
RECOGNITION_ITEM = _OWN + "codesystem:recognition-item"
RECOGNITION_REASON = _OWN + "codesystem:recognition-reason"
RECOGNITION_VERDICT = _OWN + "codesystem:recognition-verdict"
RECOGNITION_ACT = _OWN + "codesystem:recognition-act"  # DetectedIssue.code: what a doctor decided
USER = _OWN + "user"  # Practitioner.identifier: who signs in under it
REVIEW = _OWN + "codesystem:identity-review"
ALERT = _OWN + "codesystem:alert"
RECORD_TAG = _OWN + "codesystem:record-state"  # Patient.meta.tag: provisional


def local_codes(member: str, table: str) -> str:
    """Code system of a member's own codes: `urn:alliance-gateway:codes:<member>:<table>`."""
    return f"{_OWN}codes:{member}:{table}"


def local_number(member: str, kind: str = "patient") -> str:
    """Identifier system of a member's own numbers: patient, visit, report, order, specimen."""
    return f"{_OWN}number:{member}:{kind}"


CERTIFICATES = {
    "02": "居民户口簿",
    "03": "护照",
    "04": "军官证",
    "05": "驾驶证",
    "06": "港澳居民来往内地通行证",
    "07": "台湾居民来往内地通行证",
}
"""Certificates that are no identity card, by their code in CV02.01.101."""


def certificate(code: str) -> str:
    """Identifier system of one kind of certificate: no official one is known."""
    return f"{_OWN}certificate:{code}"


def source_uri(source: str) -> str:
    """`meta.source` is this, then `#`, then the raw key."""
    return f"{_OWN}source:{source}"


def source_of(meta_source: str) -> tuple[str, str]:
    """(source, raw key) of a `meta.source` this gateway wrote; ("", "") for anything else."""
    prefix = _OWN + "source:"
    if not meta_source.startswith(prefix):
        return "", ""
    source, _, key = meta_source[len(prefix) :].partition("#")
    return source, key
