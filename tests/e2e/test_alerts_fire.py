"""The demo's troubles fire the alerts that are meant for them in a real Prometheus, and no others.

The suite runs in scaled time, so its windows fill in seconds; Prometheus runs in ours, so the rules' waiting times are
cut to seconds. Their expressions are the shipped ones.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

pytestmark = [pytest.mark.e2e, pytest.mark.peer, pytest.mark.soak, pytest.mark.timeout(300)]

RULES = Path(__file__).parents[2] / "dashboards" / "generated" / "rules" / "mtascope.yaml"
SPEED = 20
SECONDS = 120
"""Of the run; a scenario's trouble lasts from a quarter of it to its last quarter."""

# An objective that is missed is missed in every window of a suite that is minutes old.
BURNS = {f"MtascopeDeliveryBurns{speed}" for speed in ("Fast", "Steadily", "Slowly", "OnAndOn")}
EXPECTED = {
    "gmail-defers": ({("MtascopeDeferralSurge", "gmail")}, {"MtascopeIncidentOpen", "MtascopeQueueGrowing"}),
    # The list is read by several providers.
    "ip-blocklisted": (
        {("MtascopeBlocked", "microsoft-consumer")},
        {"MtascopeIncidentOpen", "MtascopeBounceSpike", "MtascopeBlocked", *BURNS},
    ),
    "bad-list": ({("MtascopeBadAddresses", "")}, {"MtascopeIncidentOpen", "MtascopeBounceSpike", *BURNS}),
}
"""Scenario to the alert (and provider) that must fire, and to those that may fire beside it."""


@contextmanager
def started(words: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        running = subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True)
    try:
        yield running
    finally:
        os.killpg(running.pid, signal.SIGINT)
        running.wait(timeout=120)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def metrics_of(log: Path) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if found := re.search(r"metrics\s+http://(\S+)/metrics", log.read_text() if log.exists() else ""):
            return found[1]
        time.sleep(0.3)
    raise AssertionError(f"the demo did not start: {log.read_text()[-2000:]}")


def configured(folder: Path, target: str) -> Path:
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule.update({"for": "3s"} if "for" in rule else {})
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    job = {"job_name": "mtascope", "static_configs": [{"targets": [target]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [job],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return folder / "prometheus.yml"


def firing(client: httpx.Client) -> set[tuple[str, str]]:
    try:
        answer: dict[str, Any] = client.get("/query", params={"query": 'ALERTS{alertstate="firing"}'}).json()
    except (httpx.HTTPError, ValueError):
        return set()
    found = answer.get("data", {}).get("result", [])
    return {(one["metric"]["alertname"], one["metric"].get("provider", "")) for one in found}


def scraped(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/query", params={"query": "up == 1"}).json()["data"]["result"])
    except (httpx.HTTPError, ValueError, KeyError):
        return False


@pytest.mark.parametrize("scenario", EXPECTED)
def test_a_scenario_fires_its_alert_and_no_other(scenario: str, tmp_path: Path) -> None:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed")
    wanted, allowed = EXPECTED[scenario]
    log = tmp_path / "demo.log"
    words = ["demo", "--scenario", scenario, "--speed", str(SPEED), "--rate", "60", "--for", f"{SECONDS}s"]
    words += ["--data", str(tmp_path / "data")]
    with started([sys.executable, "-m", "mtascope", *words], log):
        config, port = configured(tmp_path, metrics_of(log)), free_port()
        server = [binary, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
        with (
            started([*server, f"--web.listen-address=127.0.0.1:{port}"], tmp_path / "prometheus.log"),
            httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10) as client,
        ):
            seen: set[tuple[str, str]] = set()
            while not scraped(client) or ("MtascopeDown", "") in firing(client):
                time.sleep(0.5)  # until the first scrape nothing is there, and Prometheus says so
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline and not wanted <= seen:
                time.sleep(1)
                seen |= firing(client)
    assert wanted <= seen
    assert {name for name, _ in seen - wanted} <= allowed
