"""Whose images an association brings: the source that is called by one AE title and calls by another."""

from __future__ import annotations

from ..errors import UnknownCalledTitle, UnknownCallingTitle, WrongAddress, WrongCertificate
from ..model.directory import Directory, Source
from ..translate.sources import titles
from .dicom_pdu import Request
from .lines import Line, among, networks


def caller(directory: Directory, request: Request, ours: str) -> Source:
    """The source of an association. ours: the title sources without `called_ae` are called by.

    Raises UnknownCalledTitle, UnknownCallingTitle.
    """
    called = [one for one in _bound(directory) if request.called in (_titles(one, "called_ae") or (ours,))]
    if not called and request.called != ours:
        raise UnknownCalledTitle(f"called {request.called}")
    named = [one for one in called if request.calling in _titles(one, "calling_ae")]
    found = named or [one for one in called if not _titles(one, "calling_ae")]
    if len(found) != 1:
        raise UnknownCallingTitle(f"calling {request.calling}", *_several(found))
    return found[0]


def proven(source: Source, address: str, line: Line) -> None:
    """Titles are only claims. Raises WrongAddress, WrongCertificate."""
    hosts = source.settings.get("calling_hosts", "")
    if hosts and not among(address, networks(hosts, f"{source.name}.calling_hosts")):
        raise WrongAddress(address)
    if not line.may_speak_for(source.settings.get("certificate", "")):
        raise WrongCertificate(address)


def _bound(directory: Directory) -> list[Source]:
    """Sources that send this way."""
    return [
        one
        for one in directory.sources.values()
        if one.format == "dicom"
        and one.member in directory.members
        and (one.settings.get("calling_ae") or one.settings.get("called_ae"))
    ]


def _titles(source: Source, key: str) -> tuple[str, ...]:
    return titles(source.settings.get(key, ""))


def _several(found: list[Source]) -> tuple[str, ...]:
    return (f"fits {', '.join(one.name for one in found)}",) if found else ()
