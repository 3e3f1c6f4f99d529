"""Bounced once, never tried again: from a provider's refusal through the store to the MTA, with real processes."""

from __future__ import annotations

import json
import re
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller

from mtascope.client import ask_socket

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


class Provider:
    """Knows nobody whose name begins with `gone`; remembers whom it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        del server, session, options
        self.asked.append(address)
        if address.startswith("gone"):
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        del server, session, envelope
        return "250 2.0.0 OK"


@pytest.fixture
def provider() -> Iterator[tuple[Provider, int]]:
    handler = Provider()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield handler, controller.port
    controller.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def until(ready: Callable[[], Any], what: str, seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come within {seconds} s")


def mtascope(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "mtascope", *words], capture_output=True, timeout=60, check=False)


def test_a_recipient_that_bounced_is_not_tried_again_and_is_after_its_removal(
    tmp_path: Path, provider: tuple[Provider, int]
) -> None:
    data, smtp, config = tmp_path / "data", free_port(), tmp_path / "mtascope.toml"
    config.write_text(
        f'data = "{data}"\n[http]\nport = 0\nmetrics_port = 0\nsnapshot_every_s = 0.3\n'
        f'[mta]\nlisten = ["127.0.0.1:{smtp}"]\nlog_flush_interval = "100ms"\n'
        f'routes = [{{ domain = "*", host = "mx.example", address = "127.0.0.1", port = {provider[1]} }}]\n'
    )
    words = [sys.executable, "-m", "mtascope", "up", "--config", str(config), "--workers", "1", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline(), "the suite did not start"
            _send(smtp, "gone@provider.example", "here@provider.example")
            until(lambda: _check(data, "gone@provider.example"), "the suppression")
            assert not _check(data, "here@provider.example")
            until(lambda: _entries(data) == 1, "the list at the worker")
            _send(smtp, "gone@provider.example", "here@provider.example")
            until(lambda: provider[0].asked.count("here@provider.example") == 2, "the other recipient's mail")
            outcome = until(lambda: _outcomes(data).get("suppressed"), "the outcome")
            assert (outcome, provider[0].asked.count("gone@provider.example")) == (1, 1)
            assert mtascope("suppress", "remove", "gone@provider.example", "--data", str(data)).returncode == 0
            until(lambda: _entries(data) == 0, "the shorter list at the worker")
            _send(smtp, "gone@provider.example")
            until(lambda: provider[0].asked.count("gone@provider.example") == 2, "the attempt after the removal")
        finally:
            running.terminate()
            running.wait(30)


def _send(port: int, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.sendmail("news@sender.example", recipients, b"Subject: hello\r\n\r\nhello\r\n")


def _check(data: Path, address: str) -> bool:
    return bool(json.loads(mtascope("suppress", "check", address, "--data", str(data), "--json").stdout)["suppressed"])


def _entries(data: Path) -> int | None:
    """How many entries the list has that the worker uses; None when it does not answer."""
    try:
        page = ask_socket(data / "run" / "mta-0.sock", "/metrics").text
    except httpx.HTTPError:
        return None
    found = re.search(r"^mtascope_mta_suppression_entries (\d+)", page, re.MULTILINE)
    return int(found[1]) if found else None


def _outcomes(data: Path) -> dict[str, int]:
    status = json.loads(mtascope("status", "--data", str(data), "--json").stdout)
    found: dict[str, int] = status["store"].get("recipients", {})
    return found
