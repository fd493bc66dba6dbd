"""The segments of an answer to a query: QAK, QPD as it came, PID of a Patient, DSC.

Source: HL7 v2.5 §5.5 (QAK, QPD, DSC), §3.4.2 (PID); IHE ITI TF-2 §3.9.4.2, §3.21.4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..model import systems
from ..model.directory import Directory
from ..model.resource import Json
from ..translate.read_v2 import escaped

_SEX = {"male": "M", "female": "F", "other": "O"}


@dataclass(frozen=True, slots=True)
class Domains:
    """Who gives numbers: assigning authorities as senders write them (CX-4), and as our identifiers name them.

    systems: name or OID → identifier system. shown: identifier system → CX-4 and CX-5 of our answers.
    """

    systems: Mapping[str, str]
    shown: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, directory: Directory) -> Domains:
        """A member goes by its key and by the MSH-4 of its HL7 v2 sources; cards by their OID."""
        known: dict[str, str] = {}
        shown: dict[str, tuple[str, str]] = {}
        for key in directory.members:
            system = systems.local_number(key)
            names = [one.settings.get("msh4", "") for one in directory.sources.values() if one.member == key]
            names = [*dict.fromkeys(filter(None, names)), key]
            known |= dict.fromkeys(names, system)
            shown[system] = (names[0], "MR")
        for system, kind in ((systems.ID_CARD, "NI"), (systems.HEALTH_CARD, "HC")):
            oid = system.removeprefix("urn:oid:")
            known[oid] = known[kind] = system
            shown[system] = (f"&{oid}&ISO" if oid != system else system, kind)
        return cls(known, shown)

    def system(self, authority: str) -> str | None:
        """The identifier system of a CX-4 (`CITY1&1.2.3&ISO`), None for a domain nobody knows."""
        name, oid = [*authority.split("&"), ""][:2]
        return self.systems.get(name.strip()) or self.systems.get(oid.strip())


def pid(patient: Json, numbers: Iterable[Json], domains: Domains) -> str:
    """PID with these identifiers and the demographics of the Patient."""
    names = [_name(one) for one in patient.get("name", ())]
    phones = [escaped(str(one.get("value", ""))) for one in patient.get("telecom", ()) if one.get("system") != "email"]
    addresses = [_address(one) for one in patient.get("address", ())]
    fields = [""] * 14
    fields[3], fields[5] = cx(numbers, domains), "~".join(names)
    fields[7] = str(patient.get("birthDate", "")).replace("-", "")
    fields[8] = _SEX.get(str(patient.get("gender", "")), "U")
    fields[11], fields[13] = "~".join(filter(None, addresses)), "~".join(filter(None, phones))
    return "PID|" + "|".join(fields[1:]).rstrip("|")


def pid_without_name(numbers: Iterable[Json], domains: Domains) -> str:
    """PID of an identifier query: the second name says that there is none (IHE ITI TF-2 §3.9.4.2.2.6)."""
    return f"PID|||{cx(numbers, domains)}||~^^^^^^S"


def cx(numbers: Iterable[Json], domains: Domains) -> str:
    """PID-3: identifiers of known domains, each once."""
    made = []
    for one in numbers:
        authority, kind = domains.shown.get(str(one.get("system")), ("", ""))
        if authority:
            made.append(f"{escaped(str(one['value']))}^^^{authority}^{kind}")
    return "~".join(dict.fromkeys(made))


def _name(name: Json) -> str:
    """XPN: the whole name where it is not split; spelt in letters it is marked so."""
    letters = any(one.get("valueCode") == "ABC" for one in name.get("extension", ()))
    given = " ".join(name.get("given", ()))
    first = str(name.get("family") or name.get("text") or "")
    if name.get("family") and name.get("text") and not letters:
        first, given = str(name["text"]), ""
    return f"{escaped(first)}^{escaped(given)}^^^^^L" + ("^A" if letters else "")


def _address(address: Json) -> str:
    line = address.get("text") or "".join(address.get("line", ()))
    parts = (line, "", address.get("city", ""), address.get("state", ""), address.get("postalCode", ""))
    return "^".join(escaped(str(one or "")) for one in parts).rstrip("^")


def qak(tag: str, status: str, name: str, shown: int = -1, more: bool = False) -> str:
    """QAK: how it went, and how many were found where that is known."""
    counts = [] if shown < 0 else ["" if more else str(shown), str(shown), "" if more else "0"]
    return "|".join(["QAK", tag, status, name, *counts]).rstrip("|")
