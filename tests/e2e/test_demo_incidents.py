"""The demo's scenarios raise the right incident while one watches, and an ordinary day raises none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(240)


def summary(data: Path, scenario: str, seconds: int, speed: int) -> dict[str, Any]:
    """Run the demo; an hour of the suite's time passes in it."""
    words = ["--for", f"{seconds}s", "--rate", "60", "--speed", str(speed), "--scenario", scenario]
    running = subprocess.run(
        [sys.executable, "-m", "mtascope", "demo", "--json", "--data", str(data), *words],
        capture_output=True,
        timeout=220,
        check=False,
    )
    assert running.stdout, running.stderr.decode()
    answer: dict[str, Any] = json.loads(running.stdout)
    assert answer["identity_holds"] is True
    return answer


def first_cause(incident: dict[str, Any]) -> tuple[str, str]:
    return incident["causes"][0]["dimension"], incident["causes"][0]["value"]


@pytest.mark.e2e
def test_gmail_that_defers_is_an_incident_within_the_minute(tmp_path: Path) -> None:
    found = summary(tmp_path / "data", "gmail-defers", 40, 90)["incidents"]
    assert [one["kind"] for one in found if "gmail" in one["providers"]] == ["deferral_surge"]


@pytest.mark.soak
def test_gmail_that_defers_is_named_with_its_reply(tmp_path: Path) -> None:
    (incident,) = summary(tmp_path / "data", "gmail-defers", 60, 60)["incidents"]
    assert incident["kind"] == "deferral_surge"
    assert incident["providers"][0] == "gmail"
    assert first_cause(incident) == ("provider", "gmail")
    assert any("unusual rate of unsolicited mail" in reply["text"] for reply in incident["replies"])
    assert any("Gmail sender guidelines" in line for line in incident["advice"])


@pytest.mark.soak
def test_a_blocklisted_pool_is_one_incident_of_the_pool(tmp_path: Path) -> None:
    (incident,) = summary(tmp_path / "data", "ip-blocklisted", 60, 60)["incidents"]
    assert "block_surge" in incident["kinds"]
    assert len(incident["providers"]) >= 4
    assert first_cause(incident) == ("pool", "shared")
    assert incident["replies"][0]["bounce_class"] == "ip_blocklisted"


@pytest.mark.soak
def test_a_bad_list_is_one_incident_of_its_campaign(tmp_path: Path) -> None:
    found = summary(tmp_path / "data", "bad-list", 60, 60)["incidents"]
    (incident,) = [one for one in found if one["kind"] == "bounce_spike"]
    assert first_cause(incident) == ("campaign", "winback")
    assert incident["replies"][0]["bounce_class"] == "bad_mailbox"


@pytest.mark.soak
def test_an_ordinary_hour_raises_no_incident(tmp_path: Path) -> None:
    assert summary(tmp_path / "data", "steady", 60, 60)["incidents"] == []
