"""`mtascope dashboards build` and `mtascope rules build` write files for Grafana and Prometheus and name them."""

import json

import pytest
from click.testing import CliRunner

from dashboards.boards import BOARDS
from mtascope.cli import dashboards, rules


@pytest.mark.parametrize(
    ("command", "count"), [(dashboards.command, len(BOARDS)), (rules.command, 1)], ids=["boards", "rules"]
)
def test_the_files_written_are_listed_as_json(command, count, tmp_path):
    result = CliRunner().invoke(command, ["build", "--out", str(tmp_path / "new" / "folder"), "--json"])
    assert result.exit_code == 0
    assert sorted(json.loads(result.stdout)["files"]) == sorted(map(str, (tmp_path / "new" / "folder").iterdir()))
    assert len(json.loads(result.stdout)["files"]) == count


@pytest.mark.parametrize("command", [dashboards.command, rules.command], ids=["boards", "rules"])
def test_a_build_without_a_folder_is_wrong_usage(command):
    assert CliRunner().invoke(command, ["build"]).exit_code == 2


def test_rules_link_to_the_grafana_that_is_named(tmp_path):
    CliRunner().invoke(rules.command, ["build", "--out", str(tmp_path), "--grafana", "https://grafana.example.com"])
    assert "dashboard: https://grafana.example.com/d/mtascope-isp" in (tmp_path / "mtascope.yaml").read_text()
