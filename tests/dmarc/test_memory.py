"""A report of 200,000 records is looked at, and stored, within 150 MB of resident memory."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(180)]

_RECORDS = 200_000
_BOUND = 150_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """120 MB of XML, as a large receiver writes it."""
    rng = random.Random(4)
    path = tmp_path_factory.mktemp("large") / "report.xml"
    with path.open("w") as file:
        file.write(
            "<?xml version='1.0'?>\n<feedback>\n<report_metadata><org_name>receiver.example</org_name>"
            "<report_id>1</report_id><date_range><begin>1700006400</begin><end>1700092799</end></date_range>"
            "</report_metadata>\n<policy_published><domain>example.com</domain><p>none</p></policy_published>\n"
        )
        for number in range(_RECORDS):
            file.write(
                f"  <record>\n    <row>\n      <source_ip>198.18.{rng.randrange(256)}.{number % 256}</source_ip>\n"
                f"      <count>{rng.randrange(1, 500)}</count>\n      <policy_evaluated>\n"
                f"        <disposition>none</disposition>\n        <dkim>{rng.choice(('pass', 'fail'))}</dkim>\n"
                "        <spf>pass</spf>\n      </policy_evaluated>\n    </row>\n    <identifiers>\n"
                "      <header_from>example.com</header_from>\n    </identifiers>\n    <auth_results>\n      <dkim>\n"
                f"        <domain>example.com</domain>\n        <selector>s{rng.randrange(9)}</selector>\n"
                "        <result>pass</result>\n      </dkim>\n      <spf>\n"
                f"        <domain>bounce{rng.randrange(99)}.example.com</domain>\n        <result>pass</result>\n"
                "      </spf>\n    </auth_results>\n  </record>\n"
            )
        file.write("</feedback>\n")
    return path


def peak(*words: str) -> int:
    """Bytes that a command had resident at most, and the processes that it has waited for."""
    process = subprocess.Popen([sys.executable, "-m", "mtascope", "dmarc", *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss * 1024


def test_looking_at_a_large_report_costs_little_memory(large):
    assert peak("parse", str(large)) < _BOUND / 2


def test_storing_a_large_report_costs_little_memory(large, tmp_path):
    assert peak("ingest", "--data", str(tmp_path / "data"), str(large)) < _BOUND
