"""Certificates for lines with TLS, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)


def certificate(folder: Path, name: str, ca: str = "ca") -> None:
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}")
    openssl(folder, *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-addext", "subjectAltName=IP:127.0.0.1")
    signed = (
        "x509",
        "-req",
        "-in",
        f"{name}.csr",
        "-CA",
        f"{ca}.pem",
        "-CAkey",
        f"{ca}.key",
        "-copy_extensions",
        "copy",
    )
    openssl(folder, *signed, "-days", "2", "-out", f"{name}.pem")


def made_in(folder: Path) -> Path:
    """A CA, a server, two hospitals, and somebody of another CA."""
    for ca in ("ca", "other"):
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        openssl(folder, *new, "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
    for name in ("server", "city-esb", "county-lis"):
        certificate(folder, name)
    certificate(folder, "stranger", "other")
    return folder


def shows(keys: Path, name: str = "") -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(keys / "ca.pem"))
    if name:
        made.load_cert_chain(keys / f"{name}.pem", keys / f"{name}.key")
    return made
