"""`mtascope dmarc`: one line a report, keys as promised, exit codes that mean something."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mtascope.cli.dmarc import command
from mtascope.output import Exit
from mtascope.report_ingest import report_files

PROMISED = {
    "file", "member", "kind", "outcome", "error", "org_name", "report_id", "domain", "begin", "end", "records",
    "messages", "pass", "warnings",
}  # fmt: skip
REPORT = b"""<feedback><report_metadata><org_name>r</org_name><report_id>r1</report_id>
<date_range><begin>1700006400</begin><end>1700092799</end></date_range></report_metadata>
<policy_published><domain>example.com</domain><p>none</p></policy_published>
<record><row><source_ip>192.0.2.1</source_ip><count>7</count><policy_evaluated><disposition>none</disposition>
<dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>example.com</header_from></identifiers>
<auth_results><spf><domain>example.com</domain><scope>mfrom</scope><result>pass</result></spf></auth_results></record>
</feedback>"""


@pytest.fixture
def run():
    def invoke(*words, data=None):
        result = CliRunner().invoke(command, [str(word) for word in words], input=data, standalone_mode=False)
        assert result.exception is None, result.exception
        lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        return result.return_value, lines

    return invoke


def test_parse_prints_the_promised_keys(run, tmp_path):
    path = tmp_path / "report.xml.gz"
    path.write_bytes(gzip.compress(REPORT))
    code, (line,) = run("parse", path)
    assert code == Exit.DONE
    assert line.keys() >= PROMISED
    assert (line["file"], line["kind"], line["outcome"]) == (str(path), "aggregate", "ok")
    assert (line["records"], line["messages"], line["pass"]) == (1, 7, 7)
    assert line["begin"] == "2023-11-15T00:00:00.000000Z"


def test_parse_adds_records_on_demand(run):
    _, (line,) = run("parse", "--records", "-", data=REPORT)
    assert [(row["source_ip"], row["count"]) for row in line["rows"]] == [("192.0.2.1", 7)]


def test_a_bad_file_has_a_line_and_an_exit_code_and_stops_nobody(run, tmp_path):
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(REPORT)
    code, lines = run("parse", tmp_path)
    assert code == Exit.REFUSED
    assert [line["outcome"] for line in lines] == ["quarantined", "ok"]
    assert lines[0]["error"].startswith("no-report") or lines[0]["error"].startswith("empty")


def test_an_absent_path_is_missing(run, tmp_path):
    assert run("parse", tmp_path / "absent")[0] == Exit.MISSING


def test_ingest_stores_once(run, tmp_path):
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "a.xml").write_bytes(REPORT)
    words = ("ingest", "--json", "--data", tmp_path / "var", tmp_path / "mail")
    code, (answer,) = run(*words)
    assert code == Exit.DONE
    assert (answer["mails"], answer["reports"], answer["records"], answer["messages"]) == (1, 1, 1, 7)
    again = run(*words)[1][0]
    assert (again["reports"], again["duplicates"]) == (0, 1)


def test_a_file_whose_name_is_no_text_is_read_and_shown(run, tmp_path):
    (tmp_path / os.fsdecode(b"report-\xff.xml")).write_bytes(REPORT)
    code, (line,) = run("parse", tmp_path)
    assert code is Exit.DONE
    assert line["file"].endswith("report-\\xff.xml")


@pytest.mark.parametrize(("files", "size", "read_by"), [(3, 1_000, 0), (100, 1, 1), (1, 600_000, 1)])
def test_many_files_and_large_ones_are_read_by_processes(tmp_path, files, size, read_by):
    for number in range(files):
        (tmp_path / f"{number}.xml").write_bytes(b" " * size)
    with report_files([str(tmp_path)]) as found:
        assert (found.readers is not None) is bool(read_by)
        assert len(list(found.files)) == files


def test_looking_at_reports_loads_neither_database_nor_web_client():
    script = "import sys, mtascope.cli.dmarc; print(*{'duckdb', 'httpx', 'pydantic', 'fastapi'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
