"""How many bounce mails one core reads and classifies in a second, and how many the peers do on the same mails.

Run: .venv/bin/python bench/bench_bounce.py [FOLDER] [SECONDS]. FOLDER holds mails, one a file; without it the fixtures
of the tests are read. `read` is `read_bounce` alone, `classify` adds the class of each recipient, as the command does.
Peers are measured where they are installed: `uv run --with flufl.bounce bench/bench_bounce.py` adds flufl.bounce (which
finds addresses and no reasons); Sisimai is measured where `perl -MSisimai` runs.
"""

from __future__ import annotations

import contextlib
import email
import importlib
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mta.events.errors import ParseError
from mta.events.mail.bounce import read_bounce
from mta.events.mail.bounce_class import classify_recipient
from mtascope.resources import bounce_phrases, reply_classifier

_FIXTURES = Path(__file__).parents[1] / "tests" / "data" / "mail"
_SISIMAI = "use Sisimai; my $n = 0; for (@ARGV) { my $v = Sisimai->make($_); $n++ if $v } print $n"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _FIXTURES
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in {".eml", ".msg", ".txt"}]
    mails = [path.read_bytes() for path in paths]
    print(f"{len(mails)} mails of {folder}, {sum(map(len, mails)) / len(mails) / 1024:.1f} KiB on average")
    measure("read", _read, mails, seconds)
    measure("read and classify", _read_and_classify, mails, seconds)
    if (flufl := _flufl()) is not None:
        measure("flufl.bounce", flufl, mails, seconds)
    _sisimai(paths)


def measure(name: str, work: Callable[[bytes], object], mails: list[bytes], seconds: float) -> None:
    """Work through the mails again and again until the time is up; the first round warms caches and is not counted."""
    for mail in mails:
        work(mail)
    done, start = 0, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for mail in mails:
            work(mail)
        done += len(mails)
    print(f"{name:20} {done / spent:8.0f} mails/s")


def _read(mail: bytes) -> object:
    try:
        return read_bounce(mail, bounce_phrases())
    except ParseError as error:
        return error


def _read_and_classify(mail: bytes) -> object:
    try:
        report = read_bounce(mail, bounce_phrases())
    except ParseError as error:
        return error
    return [classify_recipient(each, report, reply_classifier()) for each in report.recipients]


def _flufl() -> Callable[[bytes], object] | None:
    try:
        scan = importlib.import_module("flufl.bounce").scan_message
    except ImportError:
        return None

    def work(mail: bytes) -> None:
        with contextlib.suppress(IndexError, LookupError, ValueError):  # it gives up on some mails that way
            scan(email.message_from_bytes(mail))

    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)
    return work


def _sisimai(paths: list[Path]) -> None:
    perl = shutil.which("perl")
    if perl is None or subprocess.run([perl, "-MSisimai", "-e1"], check=False, capture_output=True).returncode:
        return
    start = time.perf_counter()
    subprocess.run([perl, "-e", _SISIMAI, *map(str, paths)], check=False, capture_output=True)
    print(f"{'Sisimai (one round)':20} {len(paths) / (time.perf_counter() - start):8.0f} mails/s")


if __name__ == "__main__":
    main()
