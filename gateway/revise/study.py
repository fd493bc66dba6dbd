"""One study from many instances: series and instances by uid, whatever order they arrive in.

What a rejection note took back is no part of the study, whether it came before the note or comes after. An image that
comes again with another description, side or accession number was corrected in the archive: the later header counts.
Pure. Source: FHIR R4 ImagingStudy; DICOM PS3.3 C.7.2, C.7.3 (uids are unique for good); IHE RAD TF-2 §4.66 (IOCM).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import StudyOfAnother
from ..model import systems
from ..model.outcome import Finding
from ..model.resource import Json
from .version import bare

_SINGLE = frozenset({"description", "referrer", "location", "bodySite", "laterality"})
"""What a study or a series has one of; another one in a later header is told."""
_UNIONS = ("identifier", "extension", "modality", "endpoint", "basedOn", "procedureCode", "reasonCode")


_NOTE = "urn:oid:1.2.840.10008.5.1.4.1.1.88.59"
"""SOP class of a Key Object Selection, of which a rejection note is one."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The study with one more part of it. `body` keeps the id, has no meta."""

    body: Json
    findings: tuple[Finding, ...] = ()


def merge_study(stored: Json | None, part: Json) -> Merged:
    """`stored` (None for the first part) with the series and instances of `part`.

    The same instance again changes nothing, or corrects what its header says of study and series; the same SOP Instance
    UID with other facts of its own, or in another series, is kept as it first came. Both are reported.
    Raises StudyOfAnother when the patients differ.
    """
    if stored is None:
        return Merged(_counted(_rejected(part)))
    if _patient(stored) != _patient(part):
        raise StudyOfAnother("ImagingStudy.subject")
    findings: list[Finding] = []
    again = bool(uids(stored) & uids(part))
    body = _filled({"id": part["id"], **bare(stored)}, part, "ImagingStudy", findings, again)
    for name in _UNIONS:
        if name in stored or name in part:
            body[name] = _union(stored.get(name, ()), part.get(name, ()))
    if again and (numbers := _numbers(stored, part)) is not None:
        body["identifier"] = numbers
        findings.append(_corrected("ImagingStudy.identifier"))
    if starts := [one["started"] for one in (stored, part) if one.get("started")]:
        last_day = starts[-1][:10] if again else ""
        body["started"] = min(starts, key=lambda text: (text[:10] != last_day, text[:10], "T" not in text, text))
    body["series"] = _merge_series(stored.get("series", ()), part.get("series", ()), findings)
    for name in ("numberOfSeries", "numberOfInstances"):
        body[name] = max(int(stored.get(name, 0)), int(part.get(name, 0)))
    left = _rejected(body)
    if gone := _instances(body) - _instances(left):
        findings.append(_taken_back(gone))
    return Merged(_counted(left), tuple(findings))


def merge_parts(parts: Sequence[Json]) -> Merged:
    """Parts of one study, in the order they came, as one; pairwise, so that a thousand cost no million of looks."""
    if len(parts) == 1:
        return merge_study(None, parts[0])
    half = len(parts) // 2
    first, second = merge_parts(parts[:half]), merge_parts(parts[half:])
    both = merge_study(first.body, second.body)
    return Merged(both.body, (*first.findings, *second.findings, *both.findings))


def grown(stored: Json | None, parts: Sequence[Json]) -> Merged:
    """`stored` with all these parts of it, in the order they came; first what is new, then what came again."""
    seen, fresh, again = uids(stored or {}), list[Json](), list[Json]()
    for part in parts:
        own = uids(part)
        (again if own & seen else fresh).append(part)
        seen |= own
    body, findings = stored, list[Finding]()
    for some in filter(None, (fresh, again)):
        came = merge_parts(some)
        made = merge_study(body, came.body)
        body = made.body
        findings += [*came.findings, *made.findings]
    return Merged(body or {}, tuple(findings))


def uids(study: Json) -> frozenset[str]:
    """SOP Instance UIDs listed in it."""
    return frozenset(i["uid"] for one in study.get("series", ()) for i in one.get("instance", ()))


def _numbers(stored: Json, part: Json) -> list[Json] | None:
    """The identifiers once those of the part replace the stored ones of their systems; None where none goes."""
    new = [one for one in part.get("identifier", ()) if one.get("system") != systems.DICOM_UID]
    told = {one.get("system") for one in new}
    left = [one for one in stored.get("identifier", ()) if one in new or one.get("system") not in told]
    return _union(left, new) if len(left) < len(stored.get("identifier", ())) else None


def _patient(study: Json) -> str:
    return str(study.get("subject", {}).get("reference", ""))


def _filled(old: Json, new: Json, place: str, findings: list[Finding], again: bool) -> Json:
    """`old` with what only `new` has; of what both have and differ in the first stays, unless it came again; told."""
    corrected: Json = {}
    for key in sorted(_SINGLE & old.keys() & new.keys()):
        if old[key] != new[key] and again:
            corrected[key] = new[key]
            findings.append(_corrected(f"{place}.{key}"))
        elif old[key] != new[key]:
            zh, en = "后到的影像头在此写的不同，保留先到的。", "A later header says otherwise here; the first was kept."
            findings.append(Finding("GW-REV-003", "warning", f"{place}.{key}", zh, en))
    return _more(old, new) | corrected


def _corrected(place: str) -> Finding:
    zh, en = "同一幅影像再次送来，此处以这次写的为准。", "An image came again; what its header says here counts now."
    return Finding("GW-REV-009", "information", place, zh, en)


def _more(old: Json, new: Json) -> Json:
    return {**old, **{key: value for key, value in new.items() if key not in old and key != "meta"}}


def _union(old: Iterable[Any], new: Iterable[Any]) -> list[Any]:
    found = list(old)
    return found + [one for one in new if one not in found]


def _merge_series(old: Iterable[Json], new: Iterable[Json], findings: list[Finding]) -> list[Json]:
    series = {one["uid"]: one for one in old}
    homes = {i["uid"]: uid for uid, one in series.items() for i in one.get("instance", ())}
    for one in new:
        fresh = [i for i in one.get("instance", ()) if _belongs(i, one["uid"], homes, findings)]
        before = series.get(one["uid"])
        if before is None and (fresh or not one.get("instance")):
            series[one["uid"]] = {**one, "instance": fresh} if fresh else one
        elif before is not None:
            series[one["uid"]] = _merge_instances(before, {**one, "instance": fresh}, findings)
    return sorted(series.values(), key=_place)


def _belongs(instance: Json, series_uid: str, homes: dict[str, str], findings: list[Finding]) -> bool:
    home = homes.setdefault(instance["uid"], series_uid)
    if home != series_uid:
        findings.append(_finding("同一 SOP Instance UID 出现在两个序列中，保留先到的。", "in two series"))
    return home == series_uid


def _merge_instances(old: Json, new: Json, findings: list[Finding]) -> Json:
    instances = {one["uid"]: one for one in old.get("instance", ())}
    again = any(one["uid"] in instances for one in new.get("instance", ()))
    for one in new.get("instance", ()):
        before = instances.setdefault(one["uid"], one)
        if any(before.get(key, value) != value for key, value in one.items()):
            findings.append(_finding("同一 SOP Instance UID 内容不同，保留先到的。", "with other content"))
        else:
            instances[one["uid"]] = _more(before, one)
    body = _filled(old, new, "ImagingStudy.series", findings, again)
    body["numberOfInstances"] = max(int(old.get("numberOfInstances", 0)), int(new.get("numberOfInstances", 0)))
    if instances:
        body["instance"] = sorted(instances.values(), key=_place)
    return body


def _place(one: Json) -> tuple[int, str]:
    return int(one.get("number", 1 << 30)), str(one["uid"])


def _rejected(study: Json) -> Json:
    """The study without what rejection notes name; in error once the notes are all that is left of it."""
    uids = {one["valueUri"] for one in study.get("extension", ()) if one.get("url") == systems.EXT_REJECTED}
    if not uids:
        return study
    left = [
        {**one, "instance": kept, "numberOfInstances": len(kept)}
        for one in study.get("series", ())
        if (kept := [i for i in one.get("instance", ()) if f"urn:oid:{i['uid']}" not in uids])
    ]
    notes_alone = all(i["sopClass"]["code"] == _NOTE for one in left for i in one["instance"])
    counts = {"numberOfSeries": len(left), "numberOfInstances": sum(one["numberOfInstances"] for one in left)}
    return {**study, **counts, "status": "entered-in-error" if notes_alone else "available", "series": left}


def _instances(study: Json) -> int:
    return sum(len(one.get("instance", ())) for one in study.get("series", ()))


def _taken_back(count: int) -> Finding:
    zh = f"影像归档的拒收说明（IOCM）撤回了 {count} 幅影像，不再显示；原文与历史版本保留。"
    en = f"A rejection note (IOCM) took {count} instances back; they are shown no more, originals and history stay."
    return Finding("GW-REV-007", "information", "ImagingStudy.series.instance", zh, en)


def _counted(study: Json) -> Json:
    """Counters never below what is listed; an archive may say that more is to come."""
    series = [_counted_series(one) for one in study.get("series", ())]
    total = sum(int(one["numberOfInstances"]) for one in series)
    return {
        **{key: value for key, value in study.items() if key != "meta"},
        "numberOfSeries": max(int(study.get("numberOfSeries", 0)), len(series)),
        "numberOfInstances": max(int(study.get("numberOfInstances", 0)), total),
        **({"series": series} if series else {}),
    }


def _counted_series(one: Json) -> Json:
    return {**one, "numberOfInstances": max(int(one.get("numberOfInstances", 0)), len(one.get("instance", ())))}


def _finding(zh: str, en: str) -> Finding:
    text = f"A SOP Instance UID came again {en}; the first was kept."
    return Finding("GW-REV-003", "warning", "ImagingStudy.series.instance", zh, text)
