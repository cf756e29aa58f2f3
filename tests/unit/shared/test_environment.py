"""Settings from the environment: what is wrong with them is told in one line each, and no value is shown."""

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


def test_a_secret_may_be_a_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """White space around the content does not count: editors end files with a newline."""
    file = tmp_path / "key"
    file.write_text("\n open sesame\n\n")
    environment.setenv("TEST_KEY_FILE", str(file))
    assert load_settings(Settings, ["TEST_KEY"]).key.get_secret_value() == "open sesame"
    assert secret_files(os.environ, ["TEST_KEY", "OTHER"]) == {"TEST_KEY": "open sesame"}


def test_overrides_come_first(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the command line says is stronger than the environment."""
    file = tmp_path / "key"
    file.write_text("from a file")
    environment.setenv("TEST_KEY_FILE", str(file))
    assert load_settings(Settings, ["TEST_KEY"], TEST_KEY="from the caller").key.get_secret_value() == "from the caller"


def test_a_secret_is_given_once(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A variable and its file together leave open which one counts, so neither does."""
    environment.setenv("TEST_KEY", "open sesame")
    environment.setenv("TEST_KEY_FILE", str(tmp_path / "key"))
    assert refusal(capsys) == ["configuration error: TEST_KEY and TEST_KEY_FILE are both set; set one"]


def test_a_file_that_cannot_be_read(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The variable and the path are named."""
    for path, reason in ((tmp_path / "absent", "No such file or directory"), (tmp_path, "Is a directory")):
        environment.setenv("TEST_KEY_FILE", str(path))
        assert refusal(capsys) == [f"configuration error: TEST_KEY_FILE: {reason}: {path}"]


def test_a_file_that_is_no_text(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The variable is named, and no byte of the content is shown."""
    file = tmp_path / "key"
    file.write_bytes(b"open \xf3esame")
    environment.setenv("TEST_KEY_FILE", str(file))
    assert refusal(capsys) == [f"configuration error: TEST_KEY_FILE: is not text: {file}"]


def test_every_problem_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """All that is wrong is told at once, by variable, without what was in it."""
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
def test_the_address_of_a_broker(url: str, *, accepted: bool) -> None:
    """What cannot be connected to is refused at the start, without a word of its password."""
    adapter = TypeAdapter(AmqpUrl, config=ConfigDict(hide_input_in_errors=True))
    if accepted:
        assert adapter.validate_python(url).get_secret_value() == url
        return
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(url)
    assert "sesame" not in str(caught.value)
