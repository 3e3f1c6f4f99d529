"""How many messages a second go through the bundled MTA, beside Postfix and Exim, in one run on one machine.

Run: .venv/bin/python bench/bench_mta.py [--messages N] [--size BYTES] [--workers N] [--rounds N] [--only NAME]
         [--dkim] [--tls]

smtp-source (20 sessions, connections reused) sends to the MTA, which relays to smtp-sink; all three share the
machine's cores, everything is on loopback, and both MTAs accept durably (Postfix: one fsync a message; ours: one
fdatasync a group). `accept` is until the source has its last 250; `end to end` until the sink has its last message.
Peers take turns (rounds), because a shared machine is never the same twice; the ratio is of the medians. Exim only
accepts (queue_only): see `mta_peers.py`. Postfix runs with its default limits from a configuration and queue of its
own under a temporary directory, and needs root. With `--dkim` both sign with one RSA-2048 key: Postfix through
OpenDKIM on a unix socket, which is its quicker way. With `--tls` the sink is `tls_sink.py`, and both deliver by
STARTTLS.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mta_peers import exim, exim_program, fetch_exim

ROOT = Path(__file__).resolve().parents[1]
SESSIONS = 20
DOMAIN = "example.org"
PATIENCE = 60.0
_MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
"""


@dataclass(frozen=True, slots=True)
class Rates:
    """Messages a second."""

    accept: float
    end_to_end: float


Peer = Callable[[Path, int, argparse.Namespace], AbstractContextManager[int]]
"""Runs an MTA that keeps its files in a folder and relays to a port of loopback; gives the port where it listens."""


def main() -> None:
    options = _options()
    if options.fetch_exim:
        fetch_exim()
    peers: dict[str, Peer] = {"postfix": _postfix, "mtascope": _mtascope}
    if exim_program() and os.geteuid() == 0 and not (options.dkim or options.tls):
        peers["exim"] = _exim
    chosen = {name: peer for name, peer in peers.items() if options.only in {None, name}}
    if "postfix" in chosen and (not _program("postfix") or os.geteuid() != 0):
        print("postfix is not installed, or this is not root: measuring mtascope alone", file=sys.stderr)
        del chosen["postfix"]
    if "postfix" in chosen and options.dkim and not _program("opendkim"):
        print("opendkim is not installed: measuring mtascope alone", file=sys.stderr)
        del chosen["postfix"]
    if not _program("smtp-source"):
        sys.exit("smtp-source is not installed: it comes with Postfix")
    found: dict[str, list[Rates]] = {name: [] for name in chosen}
    for number in range(options.rounds):
        for name, peer in chosen.items():
            rates = _measure(peer, options, delivers=name != "exim")
            found[name].append(rates)
            print(f"round {number + 1}  {name:9} accept {rates.accept:7,.0f}/s   end to end {rates.end_to_end:7,.0f}/s")
    _compare(found)


def _compare(found: dict[str, list[Rates]]) -> None:
    middle = {
        name: (statistics.median(r.accept for r in rows), statistics.median(r.end_to_end for r in rows))
        for name, rows in found.items()
    }
    ours = middle.pop("mtascope", None)
    for name, theirs in middle.items() if ours else ():
        end_to_end = f"   end to end {ours[1] / theirs[1]:.2f}" if theirs[1] else ""
        print(f"mtascope : {name:8} accept {ours[0] / theirs[0]:.2f}{end_to_end}   (ratio of medians)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=8000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["mtascope", "postfix", "exim"])
    parser.add_argument("--fetch-exim", action="store_true", help="download and unpack Exim first")
    parser.add_argument("--dkim", action="store_true", help="sign with RSA-2048; Postfix through OpenDKIM")
    parser.add_argument("--tls", action="store_true", help="deliver over TLS")
    parser.add_argument("--settings", default="", help="more lines for the [mta] table, e.g. 'starttls = false'")
    return parser.parse_args()


def _measure(peer: Peer, options: argparse.Namespace, *, delivers: bool = True) -> Rates:
    with tempfile.TemporaryDirectory(prefix="bench-mta-") as folder:
        sink_port = _free_port()
        sink = _start_sink(Path(folder), sink_port, options)
        try:
            with peer(Path(folder), sink_port, options) as port:
                return _load(port, sink, options, delivers=delivers)
        finally:
            if sink.poll() is None:
                sink.kill()
            sink.wait()


def _start_sink(folder: Path, port: int, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    if not options.tls:
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [_program("smtp-sink"), *as_nobody, "-M", str(options.messages), f"127.0.0.1:{port}", "1000"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)
    pem = folder / "sink.pem"
    new_key = [*("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")]
    named = ["-subj", "/CN=sink.example", "-keyout", str(pem), "-out", f"{pem}.certificate"]
    subprocess.run([*new_key, *named], check=True, capture_output=True)
    with pem.open("ab") as file:
        file.write(Path(f"{pem}.certificate").read_bytes())
    sink = subprocess.Popen([sys.executable, ROOT / "bench/tls_sink.py", str(port), str(options.messages), str(pem)])
    _await_port(port)
    return sink


def _load(port: int, sink: subprocess.Popen[bytes], options: argparse.Namespace, *, delivers: bool) -> Rates:
    started = time.perf_counter()
    subprocess.run(
        [
            *(_program("smtp-source"), "-d", "-s", str(SESSIONS), "-m", str(options.messages), "-l", str(options.size)),
            *("-f", f"bench@{DOMAIN}", "-t", "user@example.com", f"127.0.0.1:{port}"),
        ],
        check=True,
        timeout=PATIENCE,
    )
    accepted = time.perf_counter() - started
    if not delivers:
        return Rates(options.messages / accepted, 0.0)
    sink.wait(PATIENCE)
    return Rates(options.messages / accepted, options.messages / (time.perf_counter() - started))


# The MTAs


@contextmanager
def _mtascope(folder: Path, sink_port: int, options: argparse.Namespace) -> Iterator[int]:
    port = _free_port()
    config = folder / "mta.toml"
    config.write_text(
        "[mta]\nreuse_port = true\nmin_free_bytes = 0\nconnection_limit = 20\n"
        f"max_deliveries_per_connection = 1000000\n{options.settings}\n{_our_dkim(folder) if options.dkim else ''}"
        f'[[mta.routes]]\ndomain = "*"\nhost = "sink.example"\naddress = "127.0.0.1"\nport = {sink_port}\n'
    )
    arguments = ["mta", "--data", str(folder / "data"), "--config", str(config), "--listen", f"127.0.0.1:{port}"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "mtascope", *arguments, "--worker", str(number), "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(options.workers)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            if not worker.stdout.readline():
                sys.exit(f"a worker did not start: {worker.communicate()[1]}")
        yield port
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            worker.communicate()


def _our_dkim(folder: Path) -> str:
    return f'[[mta.dkim]]\ndomain = "{DOMAIN}"\nselector = "bench"\nkey = "{_dkim_key(folder)}"\n'


def _dkim_key(folder: Path) -> Path:
    key = folder / "dkim.pem"
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return key


@contextmanager
def _postfix(folder: Path, sink_port: int, options: argparse.Namespace) -> Iterator[int]:
    tls = "smtp_tls_security_level = encrypt\nsmtp_tls_connection_reuse = yes\n" if options.tls else ""
    if not options.dkim:
        with _plain_postfix(folder, sink_port, tls) as port:
            yield port
        return
    folder.chmod(0o755)
    sockets = folder / "milter"
    sockets.mkdir(mode=0o777)
    sockets.chmod(0o777)
    socket_path = sockets / "opendkim.sock"
    config = folder / "opendkim.conf"
    config.write_text(
        f"Domain {DOMAIN}\nSelector bench\nKeyFile {_dkim_key(folder)}\nSocket local:{socket_path}\nUMask 000\n"
        "Mode s\nCanonicalization relaxed/relaxed\nInternalHosts 127.0.0.1\nSyslog no\nRequireSafeKeys no\n"
    )
    milter = subprocess.Popen([_program("opendkim"), "-f", "-x", str(config)])
    try:
        while not socket_path.exists():
            if milter.poll() is not None:
                sys.exit("opendkim did not start")
            time.sleep(0.05)
        with _plain_postfix(folder, sink_port, f"{tls}smtpd_milters = unix:{socket_path}\n") as port:
            yield port
    finally:
        milter.terminate()
        milter.wait()


@contextmanager
def _plain_postfix(folder: Path, sink_port: int, more: str = "") -> Iterator[int]:
    port = _free_port()
    config, queue, data = (folder / name for name in ("etc", "queue", "data"))
    for path in (config, queue, data):
        path.mkdir(mode=0o755)
    folder.chmod(0o755)
    shutil.chown(data, "postfix")
    (config / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\n"
        "inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = bench.example\nmydestination =\n"
        f"mynetworks = 127.0.0.0/8\nrelayhost = [127.0.0.1]:{sink_port}\nalias_maps =\nlocal_recipient_maps =\n{more}"
    )
    (config / "master.cf").write_text(_MASTER_CF.format(port=port))
    subprocess.run([_program("postfix"), "-c", str(config), "start"], check=True, capture_output=True)
    try:
        _await_port(port)
        yield port
    finally:
        os.kill(int((queue / "pid" / "master.pid").read_text()), signal.SIGTERM)
        time.sleep(0.5)


def _exim(folder: Path, sink_port: int, options: argparse.Namespace) -> AbstractContextManager[int]:
    del options
    return exim(folder, sink_port)


# The machine


def _program(name: str) -> str:
    return shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") or ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
            probe.recv(100)
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing answers on port {port}")


if __name__ == "__main__":
    main()
