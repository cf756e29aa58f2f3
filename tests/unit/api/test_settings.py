"""Settings of the edge: their sources and their errors."""

from pathlib import Path

import pytest

from api.settings import SECRETS, Settings
from shared.contracts.api_key import new_api_key
from shared.process.environment import load_settings

KEY = new_api_key("k" * 22)


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable counts as absent."""
    monkeypatch.setenv("AMQP_URL", "amqp://guest:pass@one, amqps://guest:pass@two")
    monkeypatch.setenv("AUTH_PORT", "9000")
    monkeypatch.setenv("AUTH_HOST", "")
    monkeypatch.setenv("AUTH_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1")

    settings = load_settings(Settings, SECRETS)

    assert [url.get_secret_value() for url in settings.amqp_url] == ["amqp://guest:pass@one", "amqps://guest:pass@two"]
    assert (settings.host, settings.port) == ("127.0.0.1", 9000)
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32"]
    assert "guest:pass" not in repr(settings)


def test_broker_url_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "amqp_url"
    secret.write_text("amqp://from-a-file\n")
    monkeypatch.setenv("AMQP_URL_FILE", str(secret))

    settings = load_settings(Settings, SECRETS)

    assert [url.get_secret_value() for url in settings.amqp_url] == ["amqp://from-a-file"]


@pytest.mark.parametrize(
    ("email", "password", "name"),
    [
        ("s3cret", "open sesame", "AUTH_FORWARD_EMAIL"),
        (" ", "open sesame", "AUTH_FORWARD_EMAIL"),
        ("shop@example.com", "s3cret" * 43, "AUTH_FORWARD_PASSWORD"),
        ("shop@example.com", "s3cret\udcff", "AUTH_FORWARD_PASSWORD"),
    ],
)
def test_forward_credentials_that_no_tenant_can_have_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], email: str, password: str, name: str
) -> None:
    monkeypatch.setenv("AMQP_URL", "amqp://broker")
    monkeypatch.setenv("AUTH_FORWARD_EMAIL", email)
    monkeypatch.setenv("AUTH_FORWARD_PASSWORD", password)

    with pytest.raises(SystemExit):
        load_settings(Settings, SECRETS)

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"configuration error: {name}: must ")
    assert "s3cret" not in line


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"AUTH_FORWARD_API_KEY": "jak_s3cret"}, "AUTH_FORWARD_API_KEY: must be an API key"),
        (
            {"AUTH_FORWARD_EMAIL": "shop@example.com"},
            "AUTH_FORWARD_EMAIL and AUTH_FORWARD_PASSWORD must be set together",
        ),
        ({"AUTH_FORWARD_PASSWORD": "s3cret"}, "AUTH_FORWARD_EMAIL and AUTH_FORWARD_PASSWORD must be set together"),
        (
            {"AUTH_FORWARD_API_KEY": KEY, "AUTH_FORWARD_EMAIL": "shop@example.com", "AUTH_FORWARD_PASSWORD": "s3cret"},
            "AUTH_FORWARD_API_KEY and AUTH_FORWARD_EMAIL are both set; set one",
        ),
    ],
)
def test_forward_credentials_are_one_whole_credential(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], problem: str
) -> None:
    for name, value in {"AMQP_URL": "amqp://broker", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load_settings(Settings, SECRETS)
    [line] = capsys.readouterr().err.splitlines()
    assert problem in line
    assert "s3cret" not in line
    assert KEY not in line


def test_forward_api_key_may_be_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("AMQP_URL", "amqp://broker")
    monkeypatch.setenv("AUTH_FORWARD_API_KEY_FILE", str(tmp_path / "key"))
    settings = load_settings(Settings, SECRETS)
    assert settings.forwards
    assert settings.forward_api_key is not None
    assert settings.forward_api_key.get_secret_value() == KEY


def test_repr_and_json_of_the_settings_show_no_secret() -> None:
    settings = Settings(
        amqp_url="amqp://user:sesame@broker", forward_email="shop@example.com", forward_password="sesame"
    )
    with_key = Settings(amqp_url="amqp://user:sesame@broker", forward_api_key=KEY)
    for each in (settings, with_key):
        for printed in (repr(each), str(each), each.model_dump_json()):
            assert "sesame" not in printed
            assert KEY not in printed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AMQP_URL", ""),
        ("AMQP_URL", "http://s3cret"),
        ("AMQP_URL", "amqp://s3cret@"),
        ("AMQP_URL", ","),
        ("AMQP_URL", "amqp://s3cret@host:port"),
        ("AMQP_URL_FILE", "/nowhere/amqp_url"),
        ("AUTH_PORT", "s3cret"),
        ("AUTH_REPLY_TIMEOUT_SECONDS", "0"),
        ("AUTH_REPLY_TIMEOUT_SECONDS", "inf"),
        ("AUTH_MAX_BODY_BYTES", "-1"),
        ("AUTH_SHUTDOWN_GRACE_SECONDS", "s3cret"),
        ("AUTH_DECLARE_TOPOLOGY", "s3cret"),
        ("AUTH_TRUSTED_PROXIES", "s3cret"),
        ("AUTH_LOG_LEVEL", "s3cret"),
        ("AUTH_LOG_FORMAT", "s3cret"),
    ],
)
def test_missing_or_invalid_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    if not name.startswith("AMQP_URL"):
        monkeypatch.setenv("AMQP_URL", "amqp://broker")
    monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit):
        load_settings(Settings, SECRETS)

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"configuration error: {name}")
    assert "s3cret" not in line
