"""`mtascope suppress`: the list from the command line, and from there to the file that the MTA reads."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from mta.delivery.suppression import Suppression
from mtascope.cli.suppress import command
from mtascope.keys import load_keyring
from mtascope.settings import DataFolder


def run(data: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, [*words, "--data", str(data)], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value or 0, done.stdout


def test_what_is_imported_stops_the_mtas_mail_and_comes_back_in_an_export(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", DataFolder(tmp_path / "data")
    (tmp_path / "in.csv").write_text("address,tenant,note\nann@example.org,,gone\nben@example.org,acme,\n")
    assert json.loads(run(data, "import", str(tmp_path / "in.csv"), "--json")[1]) == {"received": 2, "changed": 2}
    mta = Suppression(folder.suppression, lambda: load_keyring(folder.keys))
    assert mta.find("ANN@example.org", "other", 0) is not None
    assert (mta.find("ben@example.org", "", 0), mta.find("ben@example.org", "acme", 0) is None) == (None, False)
    assert run(data, "check", "ann@example.org", "--json")[0] == 1
    assert json.loads(run(data, "export", str(tmp_path / "out.ndjson"), "--json")[1]) == {"written": 2}
    assert "example.org" not in (tmp_path / "out.ndjson").read_text().replace('"domain":"example.org"', "")
    assert run(data, "remove", "ann@example.org")[0] == 0
    assert run(data, "remove", "ann@example.org")[0] == 1
    mta.refresh()
    assert mta.find("ann@example.org", "", 0) is None
    assert json.loads(run(data, "import", str(tmp_path / "out.ndjson"), "--json")[1]) == {"received": 2, "changed": 1}
    mta.refresh()
    assert mta.find("ann@example.org", "", 0) is not None


def test_a_row_that_names_nobody_is_refused_before_anything_is_added(tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_text('{"address": "ann@example.org"}\n{"note": "nobody"}\n')
    done = CliRunner().invoke(command, ["import", str(tmp_path / "in.ndjson"), "--data", str(tmp_path / "data")])
    assert "entry 2 names neither address nor recipient" in str(done.exception)
    assert json.loads(run(tmp_path / "data", "check", "ann@example.org", "--json")[1])["suppressed"] is False
