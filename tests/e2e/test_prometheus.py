"""A real Prometheus scrapes a running demo, and answers every question that a board or a rule asks."""

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
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dashboards.board import queries
from dashboards.boards import BOARDS

pytestmark = [pytest.mark.e2e, pytest.mark.peer, pytest.mark.timeout(180)]

NOT_IN_A_QUIET_DEMO = {
    # The demo receives over plain loopback: nobody tries TLS towards it, and no provider of its fails a handshake.
    "TLS success, inbound",
    "Inbound, last hour",
    "Inbound, last day",
    "Failed handshakes, last day",
    "Policy failures, last day",
    # Nothing is wrong, and what is usual is known only when four weeks have been learnt.
    "Open incidents",
    "Open incidents by kind and provider",
    "Volume against what is usual",
    # It follows its own log; no road is open, and nothing is unreadable.
    "Landing in use",
    "Quarantine by reason",
}
NO_REPORTS = {"mtascope-dmarc"}
"""Boards on what the demo has none of; their queries are run over made-up series in tests/dashboards."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_for(answers: Any, what: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := answers():
                return found
        except (httpx.HTTPError, OSError):
            pass
        time.sleep(0.25)
    raise AssertionError(f"{what} did not come within {seconds} s")


@pytest.fixture(scope="module")
def metrics_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A demo that runs until the tests are over."""
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "err").open("wb") as err:
        words = [sys.executable, "-m", "mtascope", "demo", "--rate", "60", "--data", str(folder / "data")]
        running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=err, start_new_session=True)
    find = re.compile(r"metrics\s+(http://\S+/metrics)")
    try:
        found = wait_for(lambda: find.search((folder / "err").read_text()), "the demo's start")
        yield found[1]
    finally:
        os.killpg(running.pid, signal.SIGINT)
        running.wait(timeout=60)


@pytest.fixture(scope="module")
def prometheus(metrics_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus with the scrape jobs and rules of the documentation, after some scrapes."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed")
    folder = tmp_path_factory.mktemp("prometheus")
    shipped = Path(__file__).parents[2] / "dashboards" / "generated" / "rules" / "mtascope.yaml"
    rules = yaml.safe_load(shipped.read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"  # nobody waits for a minute here; the expressions are the shipped ones
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    target = httpx.URL(metrics_url).netloc.decode()
    jobs = [{"job_name": "mtascope"}, {"job_name": "mtascope-host", "metrics_path": "/metrics/host"}]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{folder}/rules.yml"],
        "scrape_configs": [{**job, "static_configs": [{"targets": [target]}]} for job in jobs],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    words = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen([*words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=20) as client:
            wait_for(lambda: client.get("/status/runtimeinfo").is_success, "Prometheus")
            wait_for(lambda: value(client, 'sum(mtascope_recipients{outcome="delivered"})') > 300, "enough mail")
            # The demo reuses its connections: it takes a while until one is opened between two scrapes.
            opened = 'sum(increase(mtascope_mta_tls_connections_total{direction="outbound",result="ok"}[1h]))'
            wait_for(lambda: value(client, opened) > 0, "a new connection")
            wait_for(lambda: "unknown" not in {rule["health"] for rule in rules_of(client)}, "a look at every rule")
            yield client
    finally:
        running.terminate()
        running.wait(timeout=20)


def ask(client: httpx.Client, expression: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/query", params={"query": expression}).json()
    return answer


def rules_of(client: httpx.Client) -> list[dict[str, Any]]:
    groups = client.get("/rules").json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def value(client: httpx.Client, expression: str) -> float:
    result = ask(client, expression)["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


def test_every_target_is_up_and_the_page_is_within_the_series_budget(prometheus: httpx.Client) -> None:
    targets = prometheus.get("/targets").json()["data"]["activeTargets"]
    assert {(target["labels"]["job"], target["health"], target["lastError"]) for target in targets} == {
        ("mtascope", "up", ""),
        ("mtascope-host", "up", ""),
    }
    assert 500 < value(prometheus, "mtascope_series") < 10_000


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_panel_of_every_board_shows_something(board: Any, prometheus: httpx.Client) -> None:
    asked = queries(board.as_json())
    assert len(asked) > 10
    shown: set[str] = set()
    for panel, expression in asked:
        answer = ask(prometheus, expression)
        assert answer["status"] == "success", (panel, expression, answer)
        assert not answer.get("warnings"), (panel, expression, answer)
        if answer["data"]["result"]:  # a panel with a verdict asks twice: with volume for one, and without
            shown.add(panel)
    assert board.uid in NO_REPORTS or {panel for panel, _ in asked} - shown <= NOT_IN_A_QUIET_DEMO


def test_every_rule_is_healthy_and_nothing_fires_while_all_is_well(prometheus: httpx.Client) -> None:
    rules = rules_of(prometheus)
    assert len(rules) >= 10
    assert {(rule["name"], rule["health"]) for rule in rules if rule["health"] != "ok"} == set()
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


def test_what_prometheus_counted_is_what_the_store_counted(metrics_url: str, prometheus: httpx.Client) -> None:
    """Counters over the whole run grow as fast as the recipients they stand for."""
    outcomes = value(prometheus, 'sum(mtascope_recipients{outcome!="injected"})')
    assert outcomes > 300
    assert value(prometheus, "mtascope_identity_broken_recipients") == 0
    injected = value(prometheus, 'sum(mtascope_recipients{outcome="injected"})')
    receptions = value(prometheus, 'sum(mtascope_provider_events_total{type="reception"})')
    assert abs(injected - receptions) <= 0.05 * injected
