"""Rules: what ships is what the code makes, Prometheus accepts it, and it fires on a spike and on nothing else."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dashboards.alerts import ALERTS, GROUPS
from dashboards.boards import BOARDS
from dashboards.build import build_rules
from dashboards.rules import Links, Record, as_yaml
from exporter.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "dashboards" / "generated" / "rules"
RUNBOOKS = ROOT / "docs" / "runbooks"

every_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


def test_the_checked_in_rules_are_what_the_code_makes(tmp_path):
    (built,) = build_rules(tmp_path)
    assert {path.name: path.read_text() for path in GENERATED.iterdir()} == {built.name: built.read_text()}, (
        "run: make generate"
    )


def test_the_rule_file_is_yaml_that_holds_every_group_once():
    names = [group["name"] for group in yaml.safe_load(as_yaml(GROUPS))["groups"]]
    assert len(names) == len(set(names)) == len(GROUPS)


def test_every_metric_in_a_rule_is_in_the_catalogue_or_recorded_by_another():
    recorded = {rule.name for group in GROUPS for rule in group.rules if isinstance(rule, Record)}
    for group in GROUPS:
        for rule in group.rules:
            for name in re.findall(r"\b(?:\w+:)?(?:mtascope|node)_[\w:]+", rule.expr):
                family = name.removesuffix("_bucket")
                assert family in CATALOGUE or name in recorded, f"{rule.name}: {name}"


@every_alert
def test_every_alert_has_a_runbook_page(alert):
    page = (RUNBOOKS / f"{alert.name}.md").read_text()
    assert page.startswith(f"# {alert.name}\n")
    for heading in ("## What it means", "## What to look at", "## What to do"):
        assert heading in page


def test_no_runbook_page_is_left_over():
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {alert.name for alert in ALERTS}


@every_alert
def test_every_alert_says_how_bad_it_is_and_where_to_look(alert):
    rule = alert.as_rule(Links())
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url", "dashboard"}
    assert re.match(r"/d/([\w-]+)", rule["annotations"]["dashboard"])[1] in {board.uid for board in BOARDS}


@every_alert
def test_every_alert_waits_before_it_fires(alert):
    assert re.fullmatch(r"[1-9]\d*m", alert.lasting)


def test_operators_can_make_links_complete():
    links = Links(runbooks="https://wiki.example.com/runbooks/", grafana="https://grafana.example.com/")
    annotations = ALERTS[0].as_rule(links)["annotations"]
    assert annotations["runbook_url"] == f"https://wiki.example.com/runbooks/{ALERTS[0].name}.md"
    assert annotations["dashboard"].startswith("https://grafana.example.com/d/mtascope-")


@pytest.mark.peer
@needs_promtool
def test_prometheus_accepts_the_rules(tmp_path):
    (built,) = build_rules(tmp_path)
    result = promtool("check", "rules", built)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.peer
@needs_promtool
@pytest.mark.parametrize("scenario", sorted((Path(__file__).parent / "scenarios").glob("*.yaml")), ids=lambda p: p.stem)
def test_alerts_fire_when_they_should_and_only_then(scenario):
    result = promtool("test", "rules", scenario)
    assert result.returncode == 0, result.stdout + result.stderr
