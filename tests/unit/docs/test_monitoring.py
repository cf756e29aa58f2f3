"""Dashboard and alerts, held against the metrics that the code has and the page that explains them."""

import json
import os
import re
import shutil
import subprocess

import pytest

from api.metrics import EdgeMetrics
from dev.processes import REPOSITORY
from worker.metrics import WorkerMetrics

ALERTS = REPOSITORY / "deploy/prometheus/alerts.yml"
DASHBOARD = REPOSITORY / "deploy/grafana/dashboard.json"
OPERATIONS = REPOSITORY / "docs/operations.md"
#: Prometheus' own, of each target.
UP = {"up"}
TIMEOUT_SECONDS = 120


def families() -> dict[str, set[str]]:
    """The samples that each metric of edges and workers may have, those included that have none at the start."""
    parts = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {
        family.name: {family.name + part for part in parts.get(family.type, ("",))}
        for registry in (EdgeMetrics().registry, WorkerMetrics().registry)
        for family in registry.collect()
    }


def samples() -> set[str]:
    return {sample for family in families().values() for sample in family}


def named(text: str) -> set[str]:
    """What looks like one of our metrics, or one of the process, in any text."""
    return set(re.findall(r"\b(?:jincor_auth|process|python)_[a-z_]+\b", text)) | UP & set(re.findall(r"\w+", text))


def expressions(dashboard: str) -> list[str]:
    panels = json.loads(dashboard)["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize("text", [ALERTS.read_text(), *expressions(DASHBOARD.read_text())])
def test_every_metric_that_is_asked_for_exists(text: str) -> None:
    """A metric that is renamed must not leave an alert that can never fire, or a panel that stays empty."""
    assert named(text)
    assert named(text) - UP <= samples()


def test_every_metric_of_ours_is_looked_at() -> None:
    """On the dashboard or by an alert; otherwise it would cost for nothing."""
    looked_at = named(ALERTS.read_text() + "\n".join(expressions(DASHBOARD.read_text())))
    for name, possible in families().items():
        assert possible & looked_at or not name.startswith("jincor_auth"), name


def test_every_metric_of_ours_is_explained() -> None:
    """A row of the table for each, and none for what there is not."""
    rows = re.findall(r"^\| `(jincor_auth_\w+)`", OPERATIONS.read_text(), re.MULTILINE)
    assert set(rows) == {
        f"{name}_total" if f"{name}_total" in possible else name
        for name, possible in families().items()
        if name.startswith("jincor_auth")
    }


def test_every_alert_has_its_section() -> None:
    """Whoever is woken by it reads what it means and what to do, where the alert says; and nothing else is there."""
    alerts = ALERTS.read_text()
    names = re.findall(r"- alert: (\w+)", alerts)
    assert re.findall(r"runbook: docs/operations\.md#(\w+)", alerts) == [name.lower() for name in names]
    assert re.findall(r"^### (JincorAuth\w+)$", OPERATIONS.read_text(), re.MULTILINE) == names


def test_every_alert_is_tried() -> None:
    """It fires in one test of the rules, and keeps quiet in another."""
    tests = (ALERTS.parent / "alerts.test.yml").read_text()
    for name in re.findall(r"- alert: (\w+)", ALERTS.read_text()):
        assert re.search(rf"- alertname: {name}\n", tests), name
        assert f"- {{alertname: {name}, eval_time: 50m, exp_alerts: []}}" in tests


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
        ("check", "config", "prometheus.yml"),
    ],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    """Prometheus' own tool reads the files, and runs the tests of the rules."""
    promtool = shutil.which("promtool")
    if promtool is None:
        assert not os.environ.get("CI"), "CI brings promtool; see .ci/run"
        pytest.skip("promtool is not here; it is part of Debian's package prometheus")
    command = [promtool, *arguments]
    done = subprocess.run(  # noqa: S603 - the tool that was found, on files of this repository
        command, cwd=ALERTS.parent, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
