"""The demo is the suite's own proof: everybody who counts agrees, whatever is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def demo(data: Path, *options: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "mtascope", "demo", "--json", "--data", str(data), *options]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def summary(running: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, err = running.communicate(timeout=120)
    assert out, err.decode()
    answer: dict[str, Any] = json.loads(out)
    return answer


def differences(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [line for line in answer["agreement"] if not line["agrees"]]


def kill(data: Path, name: str) -> bool:
    """SIGKILL the process of that name, if it lives."""
    try:
        os.kill(int((data / "run" / f"{name}.pid").read_text()), signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    return True


def test_generator_log_store_metrics_and_providers_agree_on_every_count(tmp_path: Path) -> None:
    answer = summary(demo(tmp_path / "data", "--for", "8s", "--rate", "100"))
    assert differences(answer) == []
    assert answer["identity_holds"] is True
    assert answer["injected"] >= 700
    assert answer["quarantined"] == answer["duplicates"] == 0
    assert answer["delivered"] > answer["bounced"] > 0
    assert set(answer["urls"]) == {"metrics", "api", "page"}


def test_killing_the_mta_and_the_owner_of_the_store_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = demo(data, "--for", "14s", "--rate", "100")
    deadline = time.monotonic() + 30
    while not (data / "demo" / "traffic-report.json").exists():
        assert time.monotonic() < deadline, "the demo did not start"
        time.sleep(0.1)
    killed = 0
    for name in ("mta-0", "owner", "owner", "mta-0", "mta-0", "owner"):
        time.sleep(1.7)
        killed += kill(data, name)
    answer = summary(running)
    assert killed >= 5
    assert sum(answer["restarts"].values()) == killed
    assert differences(answer) == []
    assert answer["identity_holds"] is True
    assert answer["quarantined"] == 0
