"""Which files paths lead to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.errors import SourceError, SourceMissing
from collector.sources.discovery import Found, discover


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in ("a/20260102-000000", "a/deep/20260101-000000", "b/log", "b/.checkpoint", ".git/config"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path


def names(*paths: Path | str) -> list[str]:
    found = [item for item in discover(map(str, paths)) if isinstance(item, Found)]
    return [Path(item.path).name for item in sorted(found, key=lambda item: item.order)]


def test_a_folder_leads_to_everything_below_it_in_the_order_of_names(tree):
    assert names(tree) == ["20260101-000000", "20260102-000000", "log"]


def test_a_pattern_leads_to_what_it_matches(tree):
    assert names(tree / "b" / "l*") == ["log"]
    assert names(tree / "**" / "2026*") == ["20260101-000000", "20260102-000000"]
    assert names(tree / "nothing*") == []


def test_a_file_named_outright_is_read_even_if_its_name_begins_with_a_dot(tree):
    assert names(tree / "b" / ".checkpoint") == [".checkpoint"]


def test_a_path_that_is_not_there_is_an_error_of_its_own(tree):
    missing, *others = discover([str(tree / "absent"), str(tree / "b")])
    assert isinstance(missing, SourceMissing)
    assert len(others) == 1


def test_what_is_no_regular_file_is_passed_over(tree):
    os.mkfifo(tree / "b" / "pipe")
    (tree / "b" / "dangling").symlink_to(tree / "gone")
    (tree / "b" / "loop").symlink_to(tree)
    assert names(tree / "b") == ["log"]


def test_a_name_with_brackets_is_a_file_if_there_is_one(tree):
    (tree / "log[1]").write_text("x")
    assert names(tree / "log[1]") == ["log[1]"]


def test_errors_say_where_and_what_to_do():
    denied = SourceError.of("/var/log/kumomta", PermissionError(13, "Permission denied"))
    assert str(denied) == "/var/log/kumomta: permission denied (let the collector's user read it)"
    assert denied.temporary
    assert "Input/output error" in str(SourceError.of("/x", OSError(5, "Input/output error")))
