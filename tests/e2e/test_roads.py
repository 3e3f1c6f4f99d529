"""The owner of the store takes what is sent to it, on every road, and tells how it fares."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

RECORDS = Path(__file__).parents[1] / "data" / "kumomta"
KINDS = ("reception", "delivery", "deferral-remote", "bounce-remote", "expiration")
ROADS = ("http", "elasticsearch", "lumberjack", "syslog")


@pytest.fixture
def owner(tmp_path):
    """Starts owners of one data directory, each with all roads open."""
    started: list[subprocess.Popen[bytes]] = []
    config = tmp_path / "mtascope.json"
    roads = {road: {"port": 0} for road in ROADS}
    http = {"port": 0, "metrics_port": 0, "snapshot_every_s": 0.1, "open_to_loopback": True}
    config.write_text(json.dumps({"data": str(tmp_path / "var"), "collector": roads, "http": http}))

    def start() -> tuple[subprocess.Popen[bytes], dict[str, str]]:
        words = [sys.executable, "-m", "mtascope", "serve", "--json", "--config", str(config)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())["urls"]

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def lines() -> list[bytes]:
    return [json.dumps(json.loads((RECORDS / f"{kind}.json").read_bytes())["record"]).encode() for kind in KINDS]


def receipt(urls: dict[str, str], received: int) -> dict[str, Any]:
    """What became of the records, once so many were committed."""
    deadline = time.monotonic() + 20
    while True:
        status = httpx.get(urls["api"] + "/status").json()["collector"]
        if status["receipt"]["received"] >= received or time.monotonic() > deadline:
            return status
        time.sleep(0.05)


def test_the_same_records_over_every_road_are_stored_once_also_after_a_kill(owner):
    process, urls = owner()
    body = b"\n".join(lines())
    assert httpx.post(f"http://{urls['http']}/v1/records", content=body).json() == {"accepted": len(KINDS)}
    bulk = b"".join(b'{"create":{}}\n' + json.dumps({"message": line.decode()}).encode() + b"\n" for line in lines())
    assert httpx.post(f"http://{urls['elasticsearch']}/_bulk", content=bulk).json()["errors"] is False
    host, _, port = urls["syslog"].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(body + b"\n")
    status = receipt(urls, 3 * len(KINDS))
    counts = status["receipt"]
    assert (counts["stored"], counts["duplicates"], counts["quarantined"]) == (len(KINDS), 2 * len(KINDS), 0)
    assert status["roads"]["http"]["landed"] == len(KINDS)
    page = httpx.get(urls["metrics"]).text
    assert re.search(rf'mtascope_collector_landed_records_total{{road="elasticsearch"}} {len(KINDS)}\.0', page)
    assert 'mtascope_collector_refused_requests_total{reason="full",road="http"} 0.0' in page

    httpx.post(f"http://{urls['http']}/v1/records", content=body)
    process.kill()
    process.wait()
    _, urls = owner()
    counts = receipt(urls, len(KINDS))["receipt"]
    assert (counts["stored"], counts["quarantined"]) == (0, 0)
