"""Dashboard, alerts and the operations page agree with the metrics of the code."""

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
#: Prometheus adds this metric to each target.
UP = {"up"}
TIMEOUT_SECONDS = 120


def families() -> dict[str, set[str]]:
    """Return the sample names of each metric of edges and workers, including metrics without a sample yet."""
    parts = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {
        family.name: {family.name + part for part in parts.get(family.type, ("",))}
        for registry in (EdgeMetrics().registry, WorkerMetrics().registry)
        for family in registry.collect()
    }


def samples() -> set[str]:
    return {sample for family in families().values() for sample in family}


def named(text: str) -> set[str]:
    """Return the words of a text that look like our metrics or those of the process."""
    return set(re.findall(r"\b(?:jincor_auth|process|python)_[a-z_]+\b", text)) | UP & set(re.findall(r"\w+", text))


def expressions(dashboard: str) -> list[str]:
    panels = json.loads(dashboard)["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


@pytest.mark.parametrize("text", [ALERTS.read_text(), *expressions(DASHBOARD.read_text())])
def test_metric_in_an_alert_or_panel_exists(text: str) -> None:
    """A renamed metric would leave an alert that never fires, or an empty panel."""
    assert named(text)
    assert named(text) - UP <= samples()


def test_exported_metric_is_used_by_the_dashboard_or_an_alert() -> None:
    used = named(ALERTS.read_text() + "\n".join(expressions(DASHBOARD.read_text())))
    for name, possible in families().items():
        assert possible & used or not name.startswith("jincor_auth"), name


def test_alert_names_its_section_of_the_operations_page() -> None:
    """The page has no sections for other alerts."""
    alerts = ALERTS.read_text()
    names = re.findall(r"- alert: (\w+)", alerts)
    assert re.findall(r"runbook: docs/operations\.md#(\w+)", alerts) == [name.lower() for name in names]
    assert re.findall(r"^### (JincorAuth\w+)$", OPERATIONS.read_text(), re.MULTILINE) == names


def test_alert_has_one_test_that_fires_and_one_that_stays_silent() -> None:
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
def test_promtool_accepts_the_rules_their_tests_and_the_configuration(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert not os.environ.get("CI"), "CI brings promtool; see .ci/run"
        pytest.skip("promtool is not installed; it is part of Debian's package prometheus")
    command = [promtool, *arguments]
    done = subprocess.run(  # noqa: S603 - the tool that was found, on files of this repository
        command, cwd=ALERTS.parent, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
