"""Settings of a worker: required ones, refused values, and secrecy."""

import base64
import os
from dataclasses import replace
from pathlib import Path

import pytest

from shared.contracts.operation import Lane
from shared.process.environment import EX_CONFIG, load_settings
from worker.settings import SECRETS, Settings

KEY = base64.b64encode(b"k" * 32).decode()
OTHER_KEY = base64.b64encode(b"o" * 48).decode()
SHORT_KEY = base64.b64encode(b"s" * 31).decode()
REQUIRED = {
    "AMQP_URL": "amqp://guest:amqp-secret@broker/",
    "MONGO_URL": "mongodb://auth:mongo-secret@database/auth",
    "AUTH_LANES": "verify,manage",
    "AUTH_MASTER_KEYS": f"now:{KEY}",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Provide an environment with only the required settings."""
    for name in list(os.environ):
        if name.startswith(("AUTH_", "AMQP_URL", "MONGO_URL")):
            monkeypatch.delenv(name)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def load() -> Settings:
    return load_settings(Settings, SECRETS)


def refusal(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the error lines of a worker with an invalid configuration."""
    with pytest.raises(SystemExit) as ended:
        load()
    assert ended.value.code == EX_CONFIG == 78
    return capsys.readouterr().err.splitlines()


def test_required_settings_alone_are_enough() -> None:
    """By default registration is closed and tokens expire."""
    settings = load()
    assert settings.lanes == {Lane.VERIFY, Lane.MANAGE}
    assert [url.get_secret_value() for url in settings.amqp_url] == [REQUIRED["AMQP_URL"]]
    assert settings.mongo_url.get_secret_value() == REQUIRED["MONGO_URL"]
    assert settings.registration_key is None
    assert settings.registration_networks == ()
    assert settings.lifetimes.tenant.days == settings.lifetimes.user.days == 7


def test_throttle_is_on_by_default_and_off_with_zero(environment: pytest.MonkeyPatch) -> None:
    """Each throttle has its own setting."""
    throttle = load().throttle
    assert throttle.account
    assert throttle.address
    assert (throttle.account.undelayed, throttle.address.undelayed) == (5, 100)
    assert throttle.account.max_consecutive == 100
    assert throttle.known_origin == replace(throttle.account, max_consecutive=None)
    environment.setenv("AUTH_THROTTLE_CONSECUTIVE_FAILURES", "0")
    assert load().throttle.account == throttle.known_origin
    environment.setenv("AUTH_THROTTLE_ACCOUNT_FAILURES", "0")
    assert load().throttle.account is load().throttle.known_origin is None
    assert load().throttle.address == throttle.address
    environment.setenv("AUTH_THROTTLE_ADDRESS_FAILURES", "0")
    assert load().throttle.address is None


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"ACCOUNT": "200"}, "ACCOUNT"),
        ({"CONSECUTIVE": "4"}, "CONSECUTIVE"),
        ({"ACCOUNT": "200", "CONSECUTIVE": "150"}, "CONSECUTIVE"),
    ],
)
def test_consecutive_failures_below_the_undelayed_ones_are_refused_under_the_variable_set(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: dict[str, str], named: str
) -> None:
    """The text names both variables, because either may be changed."""
    for name, value in given.items():
        environment.setenv(f"AUTH_THROTTLE_{name}_FAILURES", value)
    assert refusal(capsys) == [
        f"configuration error: AUTH_THROTTLE_{named}_FAILURES: AUTH_THROTTLE_CONSECUTIVE_FAILURES (100 unless set)"
        " must be 0, or at least AUTH_THROTTLE_ACCOUNT_FAILURES"
    ]


def test_undelayed_failures_without_a_consecutive_limit_are_unbounded(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AUTH_THROTTLE_ACCOUNT_FAILURES", "200")
    environment.setenv("AUTH_THROTTLE_CONSECUTIVE_FAILURES", "0")
    assert load().throttle.account == load().throttle.known_origin


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, ""])
def test_missing_or_empty_required_setting_is_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str | None
) -> None:
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)
    assert refusal(capsys) == [f"configuration error: {name}: Field required"]


def test_several_missing_settings_are_reported_together(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in REQUIRED:
        environment.delenv(name)
    assert sorted(refusal(capsys)) == sorted(f"configuration error: {name}: Field required" for name in REQUIRED)


def test_list_settings_are_separated_by_commas(environment: pytest.MonkeyPatch) -> None:
    """Spaces around entries are ignored, and the order is kept."""
    environment.setenv("AMQP_URL", "amqp://a/, amqp://b/")
    environment.setenv("AUTH_LANES", " password ")
    environment.setenv("AUTH_MASTER_KEYS", f" now:{KEY} , before:{OTHER_KEY} ")
    environment.setenv("AUTH_REGISTRATION_NETWORKS", "10.0.0.0/8,2001:db8::/32")
    settings = load()
    assert [url.get_secret_value() for url in settings.amqp_url] == ["amqp://a/", "amqp://b/"]
    assert settings.lanes == {Lane.PASSWORD}
    keys = {key_id: key.get_secret_value() for key_id, key in settings.master_keys.items()}
    assert list(keys.items()) == [("now", b"k" * 32), ("before", b"o" * 48)]
    assert [str(network) for network in settings.registration_networks] == ["10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("secret-without-colon", "key 1 must be id:base64"),
        (f":{KEY}", "key 1 must be id:base64"),
        ("now:", "key 1 must be id:base64"),
        ("now:not base64 but secret!", "key 1 must be id:base64"),
        (f"now:{KEY[:-1]}", "key 1 must be id:base64"),
        (f"now:{KEY}, before:geheim", "key 2 must be id:base64"),
        (f"now:{SHORT_KEY}", "key 1 must have at least 32 bytes"),
        (f"now:{KEY},before:{SHORT_KEY}", "key 2 must have at least 32 bytes"),
        (f"now:{KEY},now:{OTHER_KEY}", "key 2 has the same id as an earlier key"),
        (f"now:{KEY},", "key 2 must be id:base64"),
        (",", "key 1 must be id:base64"),
    ],
)
@pytest.mark.parametrize("name", ["AUTH_MASTER_KEYS", "AUTH_PASSWORD_PEPPERS"])
def test_invalid_key_is_reported_by_its_number_only(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, keys: str, problem: str
) -> None:
    """The line never contains the key. Peppers have the same format."""
    environment.setenv(name, keys)
    assert refusal(capsys) == [f"configuration error: {name}: {problem}"]


def test_short_registration_key_is_refused(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The line does not reveal its length."""
    environment.setenv("AUTH_REGISTRATION_KEY", "fifteen letters")
    assert refusal(capsys) == ["configuration error: AUTH_REGISTRATION_KEY: must have at least 16 characters"]
    environment.setenv("AUTH_REGISTRATION_KEY", "sixteen letters!")
    assert load().registration_key is not None


def test_peppers_are_off_by_default_and_keep_their_order(environment: pytest.MonkeyPatch) -> None:
    """New hashes use the first pepper."""
    assert load().password_peppers is None
    environment.setenv("AUTH_PASSWORD_PEPPERS", f"2026:{KEY},2025:{OTHER_KEY}")
    assert list(load().password_peppers or ()) == ["2026", "2025"]


@pytest.mark.parametrize("pepper_id", ["a$b", "a b", "é", "x" * 65])
def test_pepper_id_with_other_characters_is_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pepper_id: str
) -> None:
    """The id is a prefix of the hash, and must be distinguishable from it."""
    environment.setenv("AUTH_PASSWORD_PEPPERS", f"good:{KEY},{pepper_id}:{OTHER_KEY}")
    problem = "key 2 must have an id of 1 to 64 letters, digits, `.`, `-` or `_`"
    assert refusal(capsys) == [f"configuration error: AUTH_PASSWORD_PEPPERS: {problem}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AMQP_URL", "sesame"),
        ("AMQP_URL", "https://guest:sesame@broker/"),
        ("AMQP_URL", "amqp://broker/,amqp://guest:sesame/not-escaped@broker/"),
        ("AMQP_URL", "amqp://guest:sesame@[broker/"),
        ("AMQP_URL", "amqp://guest:ses\uff20ame@broker/"),  # NFKC turns it into an `@`
        ("AUTH_REGISTRATION_KEY", "only-15-sesames"),
        ("MONGO_URL", "sesame"),
        ("MONGO_URL", "mongodb://user:hunter2/sesame@host/db"),
        ("MONGO_URL", "mongodb://user:ses@me:sesame@host/db"),
        ("MONGO_URL", "mongodb://user:sesame@host:notaport/db"),
        ("MONGO_URL", "mongodb://"),
        ("MONGO_URL", "amqp://guest:sesame@broker/"),
        ("AUTH_LANES", "verify,sesame"),
        ("AUTH_LANES", ","),
        ("AUTH_REGISTRATION_NETWORKS", "10.0.0.0/8,sesame"),
        ("AUTH_TENANT_TOKEN_SECONDS", "0"),
        ("AUTH_USER_TOKEN_SECONDS", "sesame"),
        ("AUTH_HASH_THREADS", "0"),
        ("AUTH_HASH_MEMORY_KIB", "19455"),
        ("AUTH_HASH_PASSES", "1"),
        ("AUTH_PASSWORD_QUEUE_LENGTH", "-1"),
        ("AUTH_PASSWORD_QUEUE_LENGTH", "1001"),
        ("AUTH_PASSWORD_NICE", "20"),
        ("AUTH_PASSWORD_MIN_CHARS", "7"),
        ("AUTH_PASSWORD_MIN_CHARS", "65"),
        ("AUTH_THROTTLE_ACCOUNT_FAILURES", "-1"),
        ("AUTH_THROTTLE_ADDRESS_FAILURES", "sesame"),
        ("AUTH_THROTTLE_CONSECUTIVE_FAILURES", "-1"),
        ("AUTH_THROTTLE_CONSECUTIVE_FAILURES", "4"),
        ("AUTH_THROTTLE_LONGEST_WAIT_SECONDS", "0"),
        ("AUTH_THROTTLE_WINDOW_SECONDS", "59"),
        ("AUTH_THROTTLE_KNOWN_SECONDS", "59"),
        ("AUTH_ACTIVITY_SECONDS", "0"),
        ("AUTH_SHUTDOWN_GRACE_SECONDS", "sesame"),
        ("AUTH_DECLARE_TOPOLOGY", "sesame"),
        ("AUTH_LOG_LEVEL", "sesame"),
        ("AUTH_LOG_FORMAT", "sesame"),
    ],
)
def test_invalid_value_is_reported_by_variable_without_the_value(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    environment.setenv(name, value)
    lines = refusal(capsys)
    assert lines
    for line in lines:
        assert line.startswith(f"configuration error: {name}")
        assert "sesame" not in line
        assert "ses\uff20ame" not in line


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_read_from_the_file_of_its_variable(
    environment: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """The newline at the end of the file is ignored."""
    value = {**REQUIRED, "AUTH_PASSWORD_PEPPERS": f"p:{KEY}"}.get(name, "registration-secret")
    file = tmp_path / "secret"
    file.write_text(f"{value}\n")
    environment.setenv(name, value)
    from_variable = load()
    environment.delenv(name)
    environment.setenv(f"{name}_FILE", str(file))
    assert load() == from_variable


def test_repr_and_json_of_the_settings_show_no_secret(environment: pytest.MonkeyPatch) -> None:
    """The settings may be logged."""
    environment.setenv("AUTH_REGISTRATION_KEY", "registration-secret")
    environment.setenv("AUTH_PASSWORD_PEPPERS", f"p:{OTHER_KEY}")
    settings = load()
    for printed in (repr(settings), str(settings), settings.model_dump_json()):
        for secret in ("amqp-secret", "mongo-secret", "registration-secret", KEY, "k" * 32, OTHER_KEY, "o" * 48):
            assert secret not in printed


def test_lanes_of_the_command_line_replace_those_of_the_environment() -> None:
    assert load_settings(Settings, SECRETS, AUTH_LANES="password").lanes == {Lane.PASSWORD}
