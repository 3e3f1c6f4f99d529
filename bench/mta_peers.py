"""Exim for `bench_mta.py`, on a configuration of its own in a temporary folder; it only accepts (queue_only).

Exim's package and Postfix's exclude each other, so Exim is unpacked and not installed: `fetch_exim` puts it under
`/var/tmp/mtascope-bench`, where its user can read it. An Exim that is not installed does not trust a configuration
named on its command line enough to deliver by it, so what it does after accepting is not measured.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["exim", "exim_program", "fetch_exim"]

CACHE = Path(os.environ.get("MTASCOPE_BENCH_CACHE", "/var/tmp/mtascope-bench"))  # noqa: S108 - a cache that all users may read
_EXIM = """\
exim_path = {program}
spool_directory = {folder}/exim/spool
log_file_path = {folder}/exim/log-%slog
pid_file_path = {folder}/exim.pid
primary_hostname = bench.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
never_users =
queue_only = true
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
remote_max_parallel = 20
acl_smtp_rcpt = accept_all
tls_advertise_hosts =
keep_environment =
begin acl
accept_all:
  accept
begin routers
sink:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = sink
begin transports
sink:
  driver = smtp
  port = {sink}
  hosts_avoid_tls = *
begin retry
* * F,1h,1s
"""


def exim_program() -> Path | None:
    """Where Exim was unpacked, if it was."""
    found = CACHE / "exim" / "usr" / "sbin" / "exim4"
    return found if found.exists() else None


def fetch_exim() -> None:
    """Download and unpack Exim; it needs apt-get and dpkg."""
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["/usr/bin/apt-get", "download", "-q", "exim4-daemon-light"], cwd=CACHE, check=True)
    (package,) = CACHE.glob("exim4-daemon-light_*.deb")
    subprocess.run(["/usr/bin/dpkg", "-x", str(package), str(CACHE / "exim")], check=True)


@contextmanager
def exim(folder: Path, sink_port: int) -> Iterator[int]:
    """Exim that queues what it takes (queue_only)."""
    port = _free_port()
    folder.chmod(0o755)
    (folder / "exim").mkdir()
    (folder / "exim").chmod(0o777)  # Exim's user may not exist here: it is a number then
    config = folder / "exim.conf"
    config.write_text(_EXIM.format(program=exim_program(), folder=folder, port=port, sink=sink_port))
    process = subprocess.Popen([str(exim_program()), "-C", str(config), "-bdf"], stderr=subprocess.DEVNULL)
    try:
        _await_port(port)
        yield port
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    """Wait until something greets on a port of loopback."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as probe:
            if probe.recv(100):
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing answers on port {port}")
