"""Settings from the environment: errors are one line each and show no value."""

import os
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from shared.process.environment import EX_CONFIG, load_settings, secret_files
from shared.process.settings import AmqpUrl


class Settings(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    key: Annotated[SecretStr, Field(alias="TEST_KEY")]
    port: Annotated[int, Field(alias="TEST_PORT")] = 1

    @field_validator("key")
    @classmethod
    def _long(cls, key: SecretStr) -> SecretStr:
        if len(key.get_secret_value()) < 5:
            raise ValueError("must be longer")
        return key


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("TEST_KEY", "TEST_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def refusal(capsys: pytest.CaptureFixture[str], **overrides: object) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        load_settings(Settings, ["TEST_KEY"], **overrides)
    assert ended.value.code == EX_CONFIG
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_secret_is_read_from_a_file_without_outer_white_space(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Editors end files with a newline."""
    file = tmp_path / "key"
    file.write_text("\n open sesame\n\n")
    environment.setenv("TEST_KEY_FILE", str(file))
    assert load_settings(Settings, ["TEST_KEY"]).key.get_secret_value() == "open sesame"
    assert secret_files(os.environ, ["TEST_KEY", "OTHER"]) == {"TEST_KEY": "open sesame"}


def test_override_wins_over_the_environment(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Overrides come from the command line."""
    file = tmp_path / "key"
    file.write_text("from a file")
    environment.setenv("TEST_KEY_FILE", str(file))
    assert load_settings(Settings, ["TEST_KEY"], TEST_KEY="from the caller").key.get_secret_value() == "from the caller"


def test_secret_given_as_variable_and_file_is_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Two values of one secret would leave open which of them is in use."""
    environment.setenv("TEST_KEY", "open sesame")
    environment.setenv("TEST_KEY_FILE", str(tmp_path / "key"))
    assert refusal(capsys) == ["configuration error: TEST_KEY and TEST_KEY_FILE are both set; set one"]


def test_unreadable_secret_file_is_refused_with_variable_and_path(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for path, reason in ((tmp_path / "absent", "No such file or directory"), (tmp_path, "Is a directory")):
        environment.setenv("TEST_KEY_FILE", str(path))
        assert refusal(capsys) == [f"configuration error: TEST_KEY_FILE: {reason}: {path}"]


@pytest.mark.parametrize("text", ["", "\n", " \t\n"])
def test_empty_secret_file_is_refused_with_variable_and_path(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    environment.setenv("TEST_KEY_FILE", str(file))
    assert refusal(capsys) == [f"configuration error: TEST_KEY_FILE: is empty: {file}"]


def test_secret_file_that_is_not_text_is_refused_without_its_content(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"open \xf3esame")
    environment.setenv("TEST_KEY_FILE", str(file))
    assert refusal(capsys) == [f"configuration error: TEST_KEY_FILE: is not text: {file}"]


def test_settings_with_several_errors_report_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = refusal(capsys, TEST_KEY="abcd", TEST_PORT="sesame")
    assert lines[0] == "configuration error: TEST_KEY: must be longer"
    assert lines[1].startswith("configuration error: TEST_PORT: Input should be a valid integer")
    assert "sesame" not in lines[1]
    assert refusal(capsys) == ["configuration error: TEST_KEY: Field required"]


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("amqp://broker", True),
        ("amqps://guest:sesame@broker:5671/vhost?heartbeat=5", True),
        ("amqp://guest:sesame@[::1]:5672/", True),
        ("sesame", False),
        ("", False),
        ("amqp://", False),
        ("broker:5672", False),
        ("https://guest:sesame@broker/", False),
        ("amqp://guest:sesame/unescaped@broker/", False),
        ("amqp://guest:guest@broker:sesame/", False),
        ("amqp://guest:sesame@[broker/", False),
    ],
)
def test_broker_url_is_accepted_or_refused_without_its_password(url: str, *, accepted: bool) -> None:
    adapter = TypeAdapter(AmqpUrl, config=ConfigDict(hide_input_in_errors=True))
    if accepted:
        assert adapter.validate_python(url).get_secret_value() == url
        return
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(url)
    assert "sesame" not in str(caught.value)
