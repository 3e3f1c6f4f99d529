"""Records read per second, stored or not, beside parsedmarc and dmarc-report, on the same reports in one run.

    python bench/bench_dmarc.py [--reports N] [--peers PYTHON] [--folder DIR]

`--peers` is the Python of an environment that has the peers; they are measured in it, offline. One that is absent is
named and passed over. `--folder` measures real reports instead of made ones.

The clock of "read" and "stored" begins when everything is loaded: parsedmarc's modules, our store and our readers. A
"whole command" is measured from its start to its end, parsedmarc's with as many processes as there are cores; it writes
JSON and CSV files.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_MEASURE = """
import json, os, pathlib, resource, sys, time
files = sorted(path for path in pathlib.Path(sys.argv[1]).rglob("*") if path.is_file())
def measure(read):
    records = failed = 0
    began, cpu = time.perf_counter(), time.process_time()
    for file in files:
        try:
            records += read(file)
        except Exception:
            failed += 1
    finish()
    print(json.dumps({"records": records, "failed": failed, "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
def finish():
    pass
"""
_OURS = """
from dmarc.reading import Reading, read_reports
def read(file):
    return sum(len(item) for item in read_reports([file.read_bytes()]) if not isinstance(item, Reading))
measure(read)
"""
_STORED = """
from mtascope.report_ingest import ingest_reports, report_files
from mtascope.opened_store import open_store
from mtascope.settings import load_settings
settings = load_settings(None, sys.argv[2])
cpu = os.times()
with report_files([sys.argv[1]]) as files, open_store(settings) as store:
    began = time.perf_counter()
    answer = ingest_reports(store, settings, files)
    seconds = time.perf_counter() - began
used = os.times()
print(json.dumps({"records": answer["records"], "failed": answer["quarantined"], "seconds": seconds,
    "cpu": sum(used[:4]) - sum(cpu[:4]),
    "rss": max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024}))
"""
_PARSEDMARC = """
import logging, parsedmarc
logging.disable(logging.CRITICAL)
def read(file):
    found = parsedmarc.parse_report_file(str(file), offline=True, always_use_local_files=True)
    report = found["report"]
    return len(report["records"])
measure(read)
"""
_DMARC_REPORT = """
from dmarc_report.parser import DMARCParser
def read(file):
    report = DMARCParser.parse_file(file)
    return len(getattr(report, "record", None) or report.records)
measure(read)
"""


def made_report(rng: random.Random, number: int, records: int) -> str:
    """A report such as a large receiver sends."""
    rows = "".join(
        f"""  <record>
    <row>
      <source_ip>198.{rng.randrange(18, 20)}.{rng.randrange(256)}.{rng.randrange(256)}</source_ip>
      <count>{rng.randrange(1, 500)}</count>
      <policy_evaluated>
        <disposition>none</disposition>
        <dkim>{rng.choice(("pass", "fail"))}</dkim>
        <spf>{rng.choice(("pass", "fail"))}</spf>
      </policy_evaluated>
    </row>
    <identifiers>
      <header_from>example.com</header_from>
    </identifiers>
    <auth_results>
      <dkim>
        <domain>example.com</domain>
        <result>pass</result>
        <selector>s{rng.randrange(5)}</selector>
      </dkim>
      <spf>
        <domain>bounce{rng.randrange(50)}.example.com</domain>
        <result>pass</result>
      </spf>
    </auth_results>
  </record>
"""
        for _ in range(records)
    )
    begin = 1_700_006_400 + number % 365 * 86_400
    return f"""<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <report_metadata>
    <org_name>receiver{number % 40}.example</org_name>
    <email>noreply@receiver.example</email>
    <report_id>{rng.getrandbits(64)}</report_id>
    <date_range>
      <begin>{begin}</begin>
      <end>{begin + 86_399}</end>
    </date_range>
  </report_metadata>
  <policy_published>
    <domain>example.com</domain>
    <adkim>r</adkim>
    <aspf>r</aspf>
    <p>none</p>
    <sp>none</sp>
    <pct>100</pct>
  </policy_published>
{rows}</feedback>
"""


def make(folder: Path, reports: int) -> None:
    rng = random.Random(9)
    for number in range(reports):
        records = 1_000 if number % 200 == 0 else rng.choice((1, 1, 2, 3, 5, 10, 25))
        (folder / f"{number}.xml").write_text(made_report(rng, number, records))


def measured(python: str, script: str, *words: str) -> dict[str, float] | str:
    """The figures that `script` printed, or the last line of what went wrong."""
    done = subprocess.run([python, "-c", _MEASURE + script, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    figures: dict[str, float] = {}
    for line in done.stdout.splitlines():
        figures |= json.loads(line)
    return figures


def command(words: Sequence[str], records: Callable[[bytes], tuple[int, int]]) -> dict[str, float] | str:
    """A whole command's figures; `records` finds records and refused files in what it printed."""
    if not Path(words[0]).exists():
        return f"no {words[0]}"
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, capture_output=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    read, failed = records(done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"records": read, "failed": failed, "seconds": seconds, "cpu": cpu, "rss": 0}


def our_command(folder: Path, data: Path) -> dict[str, float] | str:
    """`mtascope dmarc ingest` into a new store."""

    def counted(printed: bytes) -> tuple[int, int]:
        answer = json.loads(printed)
        return answer["records"], answer["quarantined"]

    words = [str(Path(sys.executable).parent / "mtascope"), "dmarc", "ingest", "--data", str(data), "--json"]
    return command([*words, str(folder)], counted)


def parsedmarc_command(folder: Path, peers: str, scratch: Path) -> dict[str, float] | str:
    """`parsedmarc` into JSON and CSV files, with a process for each core."""
    out, settings = scratch / "parsedmarc", scratch / "parsedmarc.ini"
    settings.write_text(
        f"[general]\nsave_aggregate = True\noffline = True\nalways_use_local_files = True\noutput = {out}\n"
        f"silent = True\nn_procs = {os.cpu_count()}\n"
    )

    def counted(_: bytes) -> tuple[int, int]:
        return sum(len(report["records"]) for report in json.loads((out / "aggregate.json").read_bytes())), 0

    return command([str(Path(peers).parent / "parsedmarc"), "-c", str(settings), "-r", str(folder)], counted)


def show(name: str, found: dict[str, float] | str) -> None:
    """One line of the table."""
    if isinstance(found, str):
        print(f"{name:<28} absent: {found}")
        return
    memory = f"{found['rss']:>5.0f} MB" if found["rss"] else " " * 8
    print(
        f"{name:<28} {found['records']:>8.0f} records {found['records'] / found['seconds']:>9.0f}/s  "
        f"{found['seconds']:6.2f} s  {found['cpu']:6.2f} s CPU  {memory}  {found['failed']:.0f} files refused"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=2_000)
    parser.add_argument("--peers", default=os.environ.get("MTASCOPE_PEERS", sys.executable))
    parser.add_argument("--folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(asked.folder or scratch, *([] if asked.folder else ["reports"]))
        if not asked.folder:
            folder.mkdir()
            make(folder, asked.reports)
        for name, python, script in (
            ("mtascope, read", sys.executable, _OURS),
            ("mtascope, read and stored", sys.executable, _STORED),
            ("parsedmarc, read", asked.peers, _PARSEDMARC),
            ("dmarc-report, read", asked.peers, _DMARC_REPORT),
        ):
            show(name, measured(python, script, str(folder), str(Path(scratch, "data"))))
        show("mtascope, whole command", our_command(folder, Path(scratch, "whole")))
        show("parsedmarc, whole command", parsedmarc_command(folder, asked.peers, Path(scratch)))


if __name__ == "__main__":
    main()
