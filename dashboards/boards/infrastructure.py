"""Infrastructure answers: have the machines room, do connections encrypt, and is the suite itself well.

Nothing here is filtered by provider: connections from outside have none.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import stat, timeseries

from dashboards import thresholds
from dashboards.board import Board, Row
from dashboards.boards.tls import share_of_tries, success_by_provider
from dashboards.panels import Query, graph, number, verdict
from dashboards.promql import RATE_INTERVAL, SCOPE, Series, highest, metric, quantile, rate, total

__all__ = ["INFRASTRUCTURE"]


def _here(name: str) -> Series:
    return metric(name).like(**SCOPE)


# The machines


def _cpu_busy() -> timeseries.Panel:
    idle = _here("node_cpu_seconds_total").where(mode="idle")
    return graph(
        "CPU busy",
        "Is there computing power left? Share of CPU time not idle, all CPUs of a machine together.",
        [Query(f"1 - avg by (instance) (rate({idle}[{RATE_INTERVAL}]))", "{{instance}}")],
        unit="percentunit",
        line=thresholds.CPU_BUSY,
    )


def _memory_free() -> timeseries.Panel:
    free = total(_here("node_memory_MemAvailable_bytes"), "instance")
    return graph(
        "Memory free",
        "Is there memory left? Share that programs can still get without swapping.",
        [Query(f"{free} / {total(_here('node_memory_MemTotal_bytes'), 'instance')}", "{{instance}}")],
        unit="percentunit",
        line=thresholds.MEMORY_FREE,
    )


def _disk_free() -> timeseries.Panel:
    free = total(_here("node_filesystem_avail_bytes"), "instance", "mountpoint")
    size = total(_here("node_filesystem_size_bytes"), "instance", "mountpoint")
    return graph(
        "Disk free",
        "Is there disk left? Free share of each file system; a full spool refuses mail.",
        [Query(f"{free} / {size}", "{{instance}} {{mountpoint}}")],
        unit="percentunit",
        line=thresholds.DISK_FREE,
    )


def _load() -> timeseries.Panel:
    return graph(
        "Load",
        "Do programs queue for CPU or disk? Load average over one minute.",
        [Query(total(_here("node_load1"), "instance"), "{{instance}}")],
    )


def _disk_throughput() -> timeseries.Panel:
    return graph(
        "Disk throughput",
        "How much is written and read? Writes above the line, reads below it.",
        [
            Query(rate(_here("node_disk_written_bytes_total"), "instance"), "written {{instance}}"),
            Query(rate(_here("node_disk_read_bytes_total"), "instance"), "read {{instance}}"),
        ],
        unit="Bps",
        below_zero="read .*",
    )


def _disk_busy() -> timeseries.Panel:
    busy = rate(_here("node_disk_io_time_seconds_total"), "instance", "device")
    return graph(
        "Disk busy",
        "Is a disk the bottleneck? Share of time in which each disk had work.",
        [Query(busy, "{{instance}} {{device}}")],
        unit="percentunit",
        line=thresholds.CPU_BUSY,
    )


def _network_throughput() -> timeseries.Panel:
    received = _here("node_network_receive_bytes_total").without(device="lo")
    sent = _here("node_network_transmit_bytes_total").without(device="lo")
    return graph(
        "Network throughput",
        "How much goes over the wire? Received above the line, sent below it; without loopback.",
        [
            Query(rate(received, "instance"), "received {{instance}}"),
            Query(rate(sent, "instance"), "sent {{instance}}"),
        ],
        unit="Bps",
        below_zero="sent .*",
    )


# TLS and connections


def _connections() -> Series:
    return _here("mtascope_mta_tls_connections_total")


def _tls_success(title: str, question: str, direction: str) -> stat.Panel:
    return verdict(title, f"{question} Over the last hour.", share_of_tries(direction, "1h"))


def _tls_by_provider() -> timeseries.Panel:
    outbound = _connections().where(direction="outbound")
    return graph(
        "TLS success by provider",
        "Which provider's TLS fails? Outbound connections that ended encrypted / connections where TLS was tried.",
        [Query(success_by_provider(outbound), "{{provider}}")],
        unit="percentunit",
        line=thresholds.TLS,
    )


def _tls_results() -> timeseries.Panel:
    return graph(
        "Connections per minute by TLS result",
        "How are connections protected? By direction and result; not_offered went in the clear.",
        [Query(f"{rate(_connections(), 'direction', 'result')} * 60", "{{direction}} {{result}}")],
        stacked=True,
    )


def _tls_versions() -> timeseries.Panel:
    encrypted = rate(_connections().where(result="ok"), "direction", "tls_version")
    return graph(
        "TLS versions",
        "Who still speaks old TLS? Encrypted connections per minute by version.",
        [Query(f"{encrypted} * 60", "{{direction}} {{tls_version}}")],
        stacked=True,
    )


def _open_connections() -> timeseries.Panel:
    return graph(
        "Open connections",
        "How many conversations run at this moment?",
        [Query(total(_here("mtascope_mta_connections"), "direction"), "{{direction}}")],
    )


# The suite itself


def _targets_down() -> stat.Panel:
    return number(
        "Targets down",
        "Is a part of the suite away? Scrape targets that do not answer, of jobs whose name begins with mtascope.",
        f"count({_here('up').like(job='mtascope.*')} == 0) or vector(0)",
        line=thresholds.IDENTITY,
        names={"0": "none"},
    )


def _series() -> stat.Panel:
    return number(
        "Series on /metrics",
        "Does the number of series stay in its budget of 10,000?",
        total(_here("mtascope_series")),
        line=thresholds.SERIES,
    )


def _records() -> timeseries.Panel:
    return graph(
        "Records per second by road and result",
        "Does what is written arrive, and is it read? Duplicates are harmless, quarantined ones are not.",
        [Query(rate(_here("mtascope_collector_records_total"), "road", "result"), "{{road}} {{result}}")],
        stacked=True,
    )


def _collector_lag() -> timeseries.Panel:
    return graph(
        "Collector behind by",
        "Does the collector keep up? Time since the newest event that was loaded happened; a quiet fleet lags too, so "
        "look at the backlog beside it.",
        [Query(highest(_here("mtascope_collector_lag_seconds"), "instance"), "{{instance}}")],
        unit="s",
        line=thresholds.STALENESS,
    )


def _commit_time() -> timeseries.Panel:
    seconds = _here("mtascope_collector_commit_seconds")
    return graph(
        "Commit time",
        "Is the store slowing the collector? Time to commit one batch.",
        [Query(quantile(q, seconds), f"p{q * 100:g}") for q in (0.5, 0.99)],
        unit="s",
    )


def _backlog() -> timeseries.Panel:
    return graph(
        "Backlog and store",
        "How much is still to load, and how large has the store grown?",
        [
            Query(total(_here("mtascope_collector_backlog_bytes")), "not yet loaded"),
            Query(total(_here("mtascope_store_bytes")), "store"),
        ],
        unit="bytes",
    )


def _spool_room() -> timeseries.Panel:
    return graph(
        "Spool room left",
        "How long can the bundled MTAs still take mail? Free bytes where their spool lies.",
        [Query(total(_here("mtascope_mta_spool_free_bytes"), "node"), "{{node}}")],
        unit="bytes",
    )


_MACHINES = Row(
    "Machines",
    (
        (6, _cpu_busy()),
        (6, _memory_free()),
        (6, _disk_free()),
        (6, _load()),
        (8, _disk_throughput()),
        (8, _disk_busy()),
        (8, _network_throughput()),
    ),
    height=7,
)
_TLS = Row(
    "TLS and connections",
    (
        (4, _tls_success("TLS success, outbound", "Do our connections to providers end encrypted?", "outbound")),
        (4, _tls_success("TLS success, inbound", "Do connections to us end encrypted?", "inbound")),
        (8, _tls_by_provider()),
        (8, _tls_results()),
        (12, _tls_versions()),
        (12, _open_connections()),
    ),
    height=7,
)
_SUITE = Row(
    "The suite itself",
    (
        (4, _targets_down()),
        (4, _series()),
        (8, _records()),
        (8, _collector_lag()),
        (8, _commit_time()),
        (8, _backlog()),
        (8, _spool_room()),
    ),
    height=7,
)

INFRASTRUCTURE = Board(
    uid="mtascope-infrastructure",
    title="Mail / Infrastructure",
    description="Have the machines room, do connections encrypt, and is the suite itself well?",
    rows=(_MACHINES, _TLS, _SUITE),
    tags=("mail", "infrastructure"),
    homes=("mtascope_build_info", "node_load1"),
    by_provider=False,
    by_window=False,
)
