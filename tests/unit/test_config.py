"""An unknown key stops the start; flags beat environment beat file beat defaults."""

from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.config import load
from gateway.errors import ConfigError

SECRET = 'token_sha256 = "' + "0" * 64 + '"\n'


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_listen_on_loopback_only() -> None:
    settings = load(None, {})
    assert (settings.http.host, settings.mllp.host) == ("127.0.0.1", "127.0.0.1")


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    path = _file(tmp_path, '[http]\nport = 9000\n[gateway]\nhome = "/srv/a"\n')
    settings = load(path, {"GATEWAY_HTTP_PORT": "9001", "PATH": "/bin"})
    assert settings.http.port == 9001
    assert settings.gateway.home == "/srv/a"


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[http]\nprot = 1\n", "'port'"),
        ("[htp]\nport = 1\n", "'http'"),
        ('[[token]]\ntoken_sha255 = "x"\n', "'token_sha256'"),
    ],
)
def test_an_unknown_key_stops_the_start_and_names_the_nearest(tmp_path: Path, text: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, text), {})
    assert near in caught.value.detail


def test_an_unknown_environment_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"GATEWAY_HTTP_PROT": "1"})
    assert "GATEWAY_HTTP_PORT" in caught.value.detail


def test_a_wrong_type_is_an_error_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, '[http]\nport = "many"\n'), {})
    assert "port" in caught.value.detail


@pytest.mark.parametrize("title", ["", "SEVENTEEN-LETTERS", "网关", "A\\\\B", " GW"])
def test_what_cannot_be_an_ae_title_stops_the_start(tmp_path: Path, title: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, f'[dicom]\nae_title = "{title}"\n'), {})
    assert caught.value.place == "dicom.ae_title"


@pytest.mark.parametrize(
    "text",
    ["[[keep]]\ndays = -1\n", "[inbox]\nreplay_days = -1\n", "[gateway]\nshadow = -1\n", "[fhir]\npreparing = -1\n"],
)
def test_below_zero_is_no_number_of_days_or_processes(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(_file(tmp_path, text), {})
    load(_file(tmp_path, text.replace("-1", "0")), {})


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[[keep]]\nsource = "city_frist"\n', "keep[0].source"),
        ('[[token]]\nuser = "a"\nrole = "doctor"\nmember = "townsip"\n' + SECRET, "token.a.member"),
        ('[[token]]\nuser = "a"\nrole = "doctor"\nalliance = "conty"\n' + SECRET, "token.a.alliance"),
    ],
)
async def test_a_name_nobody_has_stops_the_start(tmp_path: Path, text: str, key: str) -> None:
    home = f'[gateway]\nhome = "{tmp_path}/home"\n'
    with pytest.raises(ConfigError) as caught:
        await Gateway.open(load(_file(tmp_path, home + text), {}))
    assert caught.value.place == key
