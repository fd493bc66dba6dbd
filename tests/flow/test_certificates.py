"""Certificates of the doors: an end in sight is told, and a new one serves without a restart."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.app import Gateway
from gateway.model.times import system_clock
from gateway.security.certificates import until
from gateway.settings import Dicom, General, Http, Mllp, Settings
from tests.flow.keys import certificate, made_in, openssl, shows


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Keys that the test may change."""
    folder = tmp_path / "keys"
    folder.mkdir()
    return made_in(folder)


class Time:
    """The real clock, and days the test adds."""

    days = 0

    def __call__(self) -> datetime:
        return system_clock() + timedelta(days=self.days)


@pytest_asyncio.fixture
async def gateway(own: Path, tmp_path: Path) -> AsyncIterator[tuple[Gateway, Time]]:
    pem, key, ca = (str(own / name) for name in ("server.pem", "server.key", "ca.pem"))
    settings = Settings(
        gateway=General(home=str(tmp_path / "home")), http=Http(port=0, tls_cert=pem, tls_key=key),
        mllp=Mllp(port=0, tls_cert=pem, tls_key=key, tls_client_ca=ca), dicom=Dicom(port=-1),
    )  # fmt: skip
    made = await Gateway.open(settings, clock=(time := Time()))
    await made.start()
    yield made, time
    await made.close()


async def shown(own: Path, port: int) -> str:
    """The SHA-256 of the certificate a client of the city hospital gets to see, and has verified."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=shows(own, "city-esb"))
    try:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
    finally:
        writer.close()


def renewed(own: Path) -> str:
    """Another key and certificate in the same files."""
    certificate(own, "server")
    for name in ("server.pem", "server.key"):
        os.utime(own / name, ns=(0, (own / name).stat().st_mtime_ns + 1_000_000))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((own / "server.pem").read_text())).hexdigest()


async def test_a_new_certificate_is_shown_and_what_cannot_be_used_is_not(
    gateway: tuple[Gateway, Time], own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serving, _ = gateway
    ports, certificates = (serving.http_port, serving.mllp_port), serving.shared.certificates
    first = {await shown(own, port) for port in ports}
    assert len(first) == 1
    second = renewed(own)
    certificates.renew()
    assert {await shown(own, port) for port in ports} == {second} != first
    assert caplog.text.count("a new certificate is shown") == 2
    (own / "server.pem").write_bytes((own / "city-esb.pem").read_bytes())  # not that of the key
    certificates.renew()
    certificates.renew()
    assert {await shown(own, port) for port in ports} == {second}
    assert caplog.text.count("cannot be used") == 2, "told once a door"
    third = renewed(own)
    certificates.renew()
    assert {await shown(own, port) for port in ports} == {third}


async def test_an_end_in_sight_is_told_each_day_and_stands_among_the_metrics(
    gateway: tuple[Gateway, Time], own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serving, time = gateway
    certificates = serving.shared.certificates
    assert certificates.until() == {"http": until(own / "server.pem"), "mllp": until(own / "server.pem")}
    assert timedelta(days=1) < until(own / "server.pem") - system_clock() <= timedelta(days=2)
    certificates.renew()
    began = [one.getMessage() for one in caplog.get_records("setup") if "ends soon" in one.getMessage()]
    assert len(began) == 2 and "ends soon" not in caplog.text, "said at the start, once for each door"
    time.days = 1
    certificates.renew()
    assert caplog.text.count("ends soon") == 2
    time.days = 3
    certificates.renew()
    assert caplog.text.count("has ended") == 2


@pytest.mark.parametrize("ended", ["20491231235959Z", "20501231235959Z"])
def test_the_end_is_read_in_both_forms_of_a_time(tmp_path: Path, ended: str) -> None:
    (tmp_path / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
        "[p]\ncommonName=supplied\n"
    )
    (tmp_path / "index").touch()
    (tmp_path / "serial").write_text("01\n")
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x")
    openssl(tmp_path, *new, "-keyout", "x.key", "-out", "x.csr")
    openssl(tmp_path, "ca", "-batch", "-selfsign", "-config", "ca.cnf", "-keyfile", "x.key", "-in", "x.csr",
            "-out", "x.pem", "-startdate", "20250101000000Z", "-enddate", ended)  # fmt: skip
    assert f"{until(tmp_path / 'x.pem'):%Y%m%d%H%M%S}Z" == ended
