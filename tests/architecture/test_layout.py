"""Where things are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_importing_the_language_imports_nothing_else_of_the_mta() -> None:
    """`mta/__init__.py` is empty: everybody imports `mta.events`, and nobody is to pay for the MTA with it."""
    assert (ROOT / "mta" / "__init__.py").read_bytes() == b""


def test_no_module_is_named_for_being_a_drawer() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
    ours = [path for part in ("mta", "collector", "dmarc", "analytics", "exporter", "dashboards", "mtascope", "tests")
            for path in (ROOT / part).rglob("*.py")]  # fmt: skip
    assert len(ours) > 100
    assert [path for path in ours if path.stem in drawers] == []
