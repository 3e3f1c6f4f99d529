"""`mtascope detect`: promised keys, `t` as it was written, exit codes, what is said about refused rows."""

from __future__ import annotations

import json
from random import Random

import pytest
from click.testing import CliRunner

from mtascope.cli.detect import command

DAY = 288


def counts(steps: int = 3 * DAY, spike: tuple[int, int] = (2 * DAY, 2 * DAY + 12)) -> list[tuple[int, str, int, int]]:
    random = Random(7)
    rows = []
    for step in range(steps):
        rate = 0.3 if spike[0] <= step < spike[1] else 0.01
        rows += [(step, "gmail", 1000, round(random.gauss(1000 * rate, 3))), (step, "yahoo", 1000, 10)]
    return rows


def ndjson(rows) -> bytes:
    lines = (json.dumps(dict(zip(("t", "series", "sent", "bounced"), row, strict=True))) for row in rows)
    return "\n".join(lines).encode() + b"\n"


def detect(content: bytes, *options: str):
    result = CliRunner().invoke(command, ["--series", "-", *options], input=content, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def test_an_incident_is_one_line_with_the_steps_of_its_decisions():
    code, (found,), errors = detect(ndjson(counts()))
    assert (code, errors) == (0, "")
    assert list(found)[:5] == ["series", "opened", "closed", "level", "baseline"]
    assert (found["series"], found["opened"]) == ("gmail", 2 * DAY)
    assert 2 * DAY + 17 <= found["closed"] <= 2 * DAY + 20
    assert found["level"] == pytest.approx(0.3, rel=0.05)
    assert found["baseline"] == pytest.approx(0.01, rel=0.1)


def test_csv_with_stamps_gives_the_same_with_its_stamps():
    rows = [f"2026-01-{5 + s // DAY:02}T{s % DAY // 12:02}:{s % 12 * 5:02}:00Z,{n},{a},{b}" for s, n, a, b in counts()]
    _, (found,), _ = detect("\n".join(["t,series,sent,bounced", *rows]).encode())
    assert found["opened"] == "2026-01-07T00:00:00Z"


def test_what_is_still_open_at_the_end_has_no_end():
    _, (found,), _ = detect(ndjson(counts(2 * DAY + 6)))
    assert found["closed"] is None


def test_openings_are_printed_when_asked_for():
    _, found, _ = detect(ndjson(counts()), "--openings")
    assert [one["closed"] is None for one in found] == [True, False]


def test_bad_rows_are_named_and_their_neighbours_kept():
    rows = ndjson(counts()).splitlines(keepends=True)
    rows[3:3] = [b"garbage\n", b'{"t":1,"series":"gmail","sent":1,"bounced":2}\n', b"x" * 200_000 + b"\n"]
    code, found, errors = detect(b"".join(rows))
    assert code == 1
    assert len(found) == 1
    assert [line.split(":")[0] for line in errors.splitlines()] == ["line 4", "line 5", "line 6"]


def test_a_row_out_of_order_is_refused():
    code, _, errors = detect(ndjson([(5, "a", 1, 0), (6, "a", 1, 0), (6, "a", 1, 0), (4, "a", 1, 0)]))
    assert code == 1
    assert [line.split(":")[0] for line in errors.splitlines()] == ["line 3", "line 4"]


def test_an_empty_file_has_no_incidents():
    assert detect(b"") == (0, [], "")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    result = CliRunner().invoke(command, ["--series", str(tmp_path / "none")], standalone_mode=False)
    assert result.return_value == 3
    assert "none" in result.stderr
