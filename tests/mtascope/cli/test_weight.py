"""What a command does not need, it does not load: an MTA worker or a shipper on a small machine stays small."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_A_STORE = ("mta", "ship", "parse", "classify", "bounce", "queue", "shaping", "token", "up", "rules")


def test_commands_that_open_no_store_do_not_load_its_engine() -> None:
    names = ", ".join(f"mtascope.cli.{name}" for name in WITHOUT_A_STORE)
    ask = f"import sys, {names}; print('duckdb' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "False"
