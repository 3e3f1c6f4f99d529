"""Every query of every board, run by Prometheus itself over a page that shows all metrics of the catalogue."""

import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
import yaml

from dashboards.board import queries
from dashboards.boards import BOARDS
from exporter.catalogue import CATALOGUE, Metric

VALUES = {
    "window": ("5m", "15m", "1h", "6h", "1d", "3d"),
    "provider": ("gmail", "microsoft-consumer", "yahoo"),
    "measure": (
        "sent",
        "delivered",
        "bounced",
        "expired",
        "oob_bounced",
        "block",
        "hard",
        "complained",
        "complainable",
        "answered",
        "deferred",
    ),
    "outcome": ("injected", "delivered", "deferred", "bounced"),
    "type": ("reception", "delivery", "deferral", "bounce"),
    "signal": ("bounce", "block", "deferral"),
    "change": ("opened",),
    "bounce_class": ("unknown", "bad_mailbox"),
    "state": ("fresh", "deferred", "retrying"),
    "direction": ("inbound", "outbound"),
    "result": ("ok", "failed", "not_offered", "success", "duplicate", "stored", "pass", "fail"),
    "mode": ("idle", "user"),
    "alertname": ("MtascopeDown",),
    "alertstate": ("firing",),
}
"""Values of the labels that queries ask for; other labels have one value, `some`."""

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def input_series(metric: Metric, value: str) -> list[dict[str, str]]:
    """What a scrape of this metric leaves behind in half an hour."""
    names = {"job": ("mtascope",), "instance": ("mail:2000",)} | {
        label: VALUES.get(label, ("some",)) for label in metric.labels
    }
    if metric.type == "histogram":
        names["le"] = (*(f"{bound:g}" for bound in metric.buckets), "+Inf")
    suffix = "_bucket" if metric.type == "histogram" else ""
    rising = metric.type in {"counter", "histogram"}
    return [
        {
            "series": metric.name
            + suffix
            + "{"
            + ",".join(f'{k}="{v}"' for k, v in zip(names, row, strict=True))
            + "}",
            "values": "0+600x30" if rising else f"{value}x30",
        }
        for row in product(*names.values())
    ]


def run(
    tmp_path: Path, asked: list[tuple[str, str]], answered: set[int], value: str
) -> subprocess.CompletedProcess[str]:
    """Record every query's result under its number, and expect exactly those `answered` to have left something."""
    records = [{"record": "asked", "expr": expr, "labels": {"number": str(n)}} for n, (_, expr) in enumerate(asked)]
    rules = {"groups": [{"name": "boards", "interval": "1m", "rules": records}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    expected = [{"labels": f'{{number="{n}"}}', "value": 1} for n in sorted(answered)]
    series = [one for metric in CATALOGUE.values() for one in input_series(metric, value)]
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [{"expr": "group by (number) (asked)", "eval_time": "25m", "exp_samples": expected}],
    }
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    )
    return subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "test.yaml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def split(asked: list[tuple[str, str]]) -> tuple[set[int], set[int]]:
    """Numbers of the queries for verdicts, and of those for numbers that are too few for one."""
    judged = {n for n, (_, expr) in enumerate(asked) if "\nand (" in expr and " unless (" in expr}
    return judged, {n for n, (_, expr) in enumerate(asked) if "\nand (" in expr} - judged


@pytest.mark.peer
@needs_promtool
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_query_answers_when_there_is_much_mail(board, tmp_path):
    # half an hour of mail has no yesterday
    asked = [(panel, re.sub(r" offset \w+", "", expr)) for panel, expr in queries(board.as_json())]
    _, unjudged = split(asked)
    result = run(tmp_path, asked, set(range(len(asked))) - unjudged, "20000")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.peer
@needs_promtool
def test_with_little_mail_a_share_is_shown_without_a_verdict(tmp_path):
    isp = next(board for board in BOARDS if board.uid == "mtascope-isp")
    asked = queries(isp.as_json(), {"provider": "gmail"})
    judged, _ = split(asked)
    result = run(tmp_path, asked, set(range(len(asked))) - judged, "2")
    assert result.returncode == 0, result.stdout + result.stderr
