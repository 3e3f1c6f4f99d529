"""What an operator copies to a machine: each file is taken by its own tool, and agrees with the code."""

from __future__ import annotations

import configparser
import importlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from collector.settings import (
    ElasticsearchSettings,
    HttpIntakeSettings,
    LumberjackSettings,
    OtlpSettings,
    SyslogSettings,
)
from dashboards.alerts import ALERTS
from dashboards.boards import BOARDS
from exporter.settings import HttpSettings
from mtascope.cli import COMMANDS
from mtascope.settings import load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def read(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


def checked_by(program: str, *arguments: str | Path) -> str:
    """What the tool says of the file; the test is skipped where the tool is absent."""
    tool = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if tool is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout or done.stderr


# --- settings ---


@pytest.mark.parametrize("path", ["mtascope.toml", "container/mtascope.toml"])
def test_settings_that_ship_are_valid(path):
    assert str(load_settings(DEPLOY / path).data) == "/var/lib/mtascope"


def test_mail_is_listened_for_where_the_firewall_opens():
    settings = load_settings(DEPLOY / "mtascope.toml")
    mta = settings.mta
    listening = {port for _, port in (*mta.listen, *mta.listen_submission, *mta.listen_tls)}
    opened = opened_ports()
    assert listening == {25, 587, 465}
    assert opened["tcp", "everywhere"] == {22} | listening


def test_only_the_inner_network_reaches_api_metrics_and_roads():
    http = HttpSettings()
    roads = {road.model_fields["port"].default for road in (LumberjackSettings, ElasticsearchSettings, OtlpSettings)}
    intake, syslog = HttpIntakeSettings.model_fields["port"].default, SyslogSettings.model_fields["port"].default
    opened = opened_ports()
    assert opened["tcp", "inner"] == {http.port, http.metrics_port, intake, syslog} | roads
    assert opened["udp", "inner"] == {syslog}


def opened_ports() -> dict[tuple[str, str], set[int]]:
    opened: dict[tuple[str, str], set[int]] = {}
    for line in (DEPLOY / "firewall/nftables.conf").read_text().splitlines():
        if found := re.search(r"(tcp|udp) dport (?:\{([\d, ]+)\}|(\d+)) accept", line):
            who = "inner" if "$inner" in line else "everywhere"
            ports = {int(port) for port in (found[2] or found[3]).split(",")}
            opened.setdefault((found[1], who), set()).update(ports)
    return opened


@pytest.mark.peer
def test_the_firewall_is_taken_by_nft():
    checked_by("nft", "-c", "-f", DEPLOY / "firewall/nftables.conf")


# --- Prometheus and Alertmanager ---


@pytest.mark.peer
@pytest.mark.parametrize("path", ["prometheus/prometheus.yml", "container/prometheus.yml"])
def test_the_scrape_configuration_is_taken_by_promtool(path):
    checked_by("promtool", "check", "config", DEPLOY / path)


def test_the_suite_is_scraped_where_it_listens_and_under_the_name_that_rules_expect():
    wanted = {"mtascope": "/metrics", "mtascope-host": "/metrics/host"}
    for path in ("prometheus/prometheus.yml", "container/prometheus.yml"):
        jobs = {job["job_name"]: job for job in read(path)["scrape_configs"]}
        assert {name: jobs[name].get("metrics_path", "/metrics") for name in wanted} == wanted
        for name in wanted:
            [target] = jobs[name]["static_configs"][0]["targets"]
            assert target.rpartition(":")[2] == str(HttpSettings().metrics_port)


@pytest.mark.peer
def test_the_alertmanager_configuration_is_taken_by_amtool():
    assert "SUCCESS" in checked_by("amtool", "check-config", DEPLOY / "alertmanager/alertmanager.yml")


@pytest.mark.peer
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (("severity=critical", "alertname=MtascopeDown"), "on-call,postmasters"),
        (("severity=warning", "alertname=MtascopeDeferralSurge"), "postmasters"),
        (("severity=info", "alertname=Anything"), "daily"),
    ],
)
def test_each_severity_reaches_who_should_hear_of_it(labels, receivers):
    config = DEPLOY / "alertmanager/alertmanager.yml"
    said = checked_by("amtool", "config", "routes", "test", f"--config.file={config}", *labels)
    assert said.strip() == receivers


def test_every_alert_has_a_severity_that_is_routed_and_every_inhibition_names_alerts_that_exist():
    config = read("alertmanager/alertmanager.yml")
    routed = {word for route in config["route"]["routes"] for word in re.findall(r"[a-z]+", route["matchers"][0])}
    assert {alert.severity for alert in ALERTS} <= routed
    named = re.findall(r"Mtascope\w+", str(config["inhibit_rules"]))
    assert named
    assert set(named) <= {alert.name for alert in ALERTS}


# --- Grafana ---


def test_grafana_finds_the_boards_where_they_are_built():
    [provider] = read("grafana/provisioning/dashboards/mtascope.yaml")["providers"]
    assert provider["type"] == "file"
    for path in ("grafana/provisioning/datasources/mtascope.yaml", "container/datasource.yaml"):
        [source] = read(path)["datasources"]
        assert (source["type"], source["uid"]) == ("prometheus", "mtascope-prometheus")


# --- systemd ---


def subcommand(name: str) -> click.Command:
    assert name in COMMANDS
    command: click.Command = importlib.import_module(f"mtascope.cli.{name}").command
    return command


def options_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_starts_a_command_that_exists_with_options_that_it_has(unit):
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[method-assign,assignment]
    parsed.read_string(unit.read_text())
    program, name, *arguments = parsed["Service"]["ExecStart"].split()
    assert program == "/opt/mtascope/bin/mtascope"
    assert {word for word in arguments if word.startswith("--")} <= options_of(subcommand(name))
    assert parsed["Service"]["NoNewPrivileges"] == "true"


@pytest.mark.peer
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_well_shut_in_by_what_systemd_says(unit):
    said = checked_by("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert exposure is not None
    assert float(exposure[1]) < 2.0


# --- containers ---


def test_what_the_containers_mount_and_build_from_is_there():
    compose = read("container/compose.yaml")
    folder = DEPLOY / "container"
    build = compose["services"]["mtascope"]["build"]
    assert (folder / build["context"] / build["dockerfile"]).is_file()
    mounts = [volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]]
    for source in mounts:
        assert (folder / source).exists() if source.startswith(".") else source in compose["volumes"], source
    homes = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(homes).name in {board.filename for board in BOARDS}


def test_only_mail_is_published_beyond_loopback():
    for name, service in read("container/compose.yaml")["services"].items():
        outside = [port for port in service["ports"] if not port.startswith("127.0.0.1:")]
        assert outside == (["25:2525"] if name == "mtascope" else [])
        if "image" in service:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), "a release, not whatever is newest"


def test_the_image_starts_the_suite_and_opens_its_ports():
    text = (DEPLOY / "container/Containerfile").read_text()
    settings = load_settings(DEPLOY / "container/mtascope.toml")
    exposed = re.search(r"^EXPOSE (.*)$", text, re.MULTILINE)
    assert exposed is not None
    ports = {int(port) for port in exposed[1].split()}
    assert {settings.http.port, settings.http.metrics_port, settings.mta.listen[0][1]} <= ports
    started = re.search(r'^CMD \["(\w+)", ', text, re.MULTILINE)
    assert started is not None
    assert subcommand(started[1])
    assert "USER mtascope" in text


# --- Filebeat, rotation ---


@pytest.mark.parametrize("name", ["filebeat.yml", "filebeat-log-input.yml"])
def test_filebeat_ships_to_the_lumberjack_port(name):
    config = read(f"filebeat/{name}")
    [host] = config["output.logstash"]["hosts"]
    assert int(host.rpartition(":")[2]) == LumberjackSettings().port
    inputs = config["filebeat.inputs"]
    assert {one["type"] for one in inputs} == ({"filestream"} if name == "filebeat.yml" else {"log"})
    ids = [one.get("id") for one in inputs]
    assert name != "filebeat.yml" or (None not in ids and len(set(ids)) == len(ids)), (
        "filestream needs ids of their own"
    )


@pytest.mark.peer
def test_rotation_is_taken_by_logrotate():
    said = checked_by("logrotate", "-d", DEPLOY / "logrotate/mtascope")
    assert "error" not in said.lower().replace("errors", "")
