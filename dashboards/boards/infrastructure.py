"""Infrastructure answers: have the machines room, do connections encrypt, and is the suite itself well.

Nothing here is filtered by provider: connections from outside have none.
"""

from __future__ import annotations

from dashboards import thresholds
from dashboards.board import Board, Row
from dashboards.panels import Query, graph, number, verdict
from dashboards.promql import RATE_INTERVAL, SCOPE, Series, by, increase, metric, quantile, rate, total
from dashboards.rates import Share

__all__ = ["INFRASTRUCTURE"]

_TLS_MEANING = "connections that ended encrypted / connections where TLS was tried"
_HOST = ("instance",)


def _here(name: str) -> Series:
    return metric(name).like(**SCOPE)


def _busy() -> str:
    idle = _here("node_cpu_seconds_total").where(mode="idle")
    return f"1 - avg{by(_HOST)}(rate({idle}[{RATE_INTERVAL}]))"


def _share_of(part: str, whole: str, *labels: str) -> str:
    return f"{total(_here(part), *labels)} / {total(_here(whole), *labels)}"


def _hosts() -> Row:
    per_host = "{{instance}}"
    wire = _here("node_network_receive_bytes_total").without(device="lo")
    wire_out = _here("node_network_transmit_bytes_total").without(device="lo")
    return Row(
        "Machines",
        (
            (
                6,
                graph(
                    "CPU busy",
                    "Is there computing power left? Share of CPU time not idle, all CPUs of a machine together.",
                    [Query(_busy(), per_host)],
                    unit="percentunit",
                    line=thresholds.CPU_BUSY,
                ),
            ),
            (
                6,
                graph(
                    "Memory free",
                    "Is there memory left? Share that programs can still get without swapping.",
                    [
                        Query(
                            _share_of("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes", *_HOST), per_host
                        )
                    ],
                    unit="percentunit",
                    line=thresholds.MEMORY_FREE,
                ),
            ),
            (
                6,
                graph(
                    "Disk free",
                    "Is there disk left? Free share of each file system; a full spool refuses mail.",
                    [
                        Query(
                            _share_of(
                                "node_filesystem_avail_bytes", "node_filesystem_size_bytes", *_HOST, "mountpoint"
                            ),
                            "{{instance}} {{mountpoint}}",
                        )
                    ],
                    unit="percentunit",
                    line=thresholds.DISK_FREE,
                ),
            ),
            (
                6,
                graph(
                    "Load",
                    "Do programs queue for CPU or disk? Load average over one minute.",
                    [Query(total(_here("node_load1"), *_HOST), per_host)],
                ),
            ),
            (
                8,
                graph(
                    "Disk throughput",
                    "How much is written and read? Writes above the line, reads below it.",
                    [
                        Query(rate(_here("node_disk_written_bytes_total"), *_HOST), "written {{instance}}"),
                        Query(rate(_here("node_disk_read_bytes_total"), *_HOST), "read {{instance}}"),
                    ],
                    unit="Bps",
                    below_zero="read .*",
                ),
            ),
            (
                8,
                graph(
                    "Disk busy",
                    "Is a disk the bottleneck? Share of time in which each disk had work.",
                    [
                        Query(
                            rate(_here("node_disk_io_time_seconds_total"), *_HOST, "device"),
                            "{{instance}} {{device}}",
                        )
                    ],
                    unit="percentunit",
                    line=thresholds.CPU_BUSY,
                ),
            ),
            (
                8,
                graph(
                    "Network throughput",
                    "How much goes over the wire? Received above the line, sent below it; without loopback.",
                    [
                        Query(rate(wire, *_HOST), "received {{instance}}"),
                        Query(rate(wire_out, *_HOST), "sent {{instance}}"),
                    ],
                    unit="Bps",
                    below_zero="sent .*",
                ),
            ),
        ),
        height=7,
    )


def _tls_share(direction: str) -> Share:
    tried = _here("mtascope_mta_tls_connections_total").where(direction=direction)

    def last_hour(*results: str) -> str:
        return increase(tried.where(result=results), over="1h")

    whole = last_hour("ok", "failed")
    return Share(_or_none(last_hour("ok"), whole), whole, last_hour("failed"), thresholds.TLS, _TLS_MEANING)


def _or_none(part: str, whole: str) -> str:
    """The part, or 0 where only the whole was counted: a counter that never moved has no series yet."""
    return f"({part} or 0 * {whole})"


def _tls() -> Row:
    connections = _here("mtascope_mta_tls_connections_total")
    outbound = connections.where(direction="outbound")
    tried = rate(outbound.where(result=("ok", "failed")), "provider")
    ok = _or_none(rate(outbound.where(result="ok"), "provider"), tried)
    return Row(
        "TLS and connections",
        (
            (
                4,
                verdict(
                    "TLS success, outbound",
                    "Do our connections to providers end encrypted? Over the last hour.",
                    _tls_share("outbound"),
                ),
            ),
            (
                4,
                verdict(
                    "TLS success, inbound",
                    "Do connections to us end encrypted? Over the last hour.",
                    _tls_share("inbound"),
                ),
            ),
            (
                8,
                graph(
                    "TLS success by provider",
                    f"Which provider's TLS fails? Outbound {_TLS_MEANING}.",
                    [Query(f"{ok} / ({tried} > 0)", "{{provider}}")],
                    unit="percentunit",
                    line=thresholds.TLS,
                ),
            ),
            (
                8,
                graph(
                    "Connections per minute by TLS result",
                    "How are connections protected? By direction and result; not_offered went in the clear.",
                    [Query(f"{rate(connections, 'direction', 'result')} * 60", "{{direction}} {{result}}")],
                    stacked=True,
                ),
            ),
            (
                12,
                graph(
                    "TLS versions",
                    "Who still speaks old TLS? Encrypted connections per minute by version.",
                    [
                        Query(
                            f"{rate(connections.where(result='ok'), 'direction', 'tls_version')} * 60",
                            "{{direction}} {{tls_version}}",
                        )
                    ],
                    stacked=True,
                ),
            ),
            (
                12,
                graph(
                    "Open connections",
                    "How many conversations run at this moment?",
                    [Query(total(_here("mtascope_mta_connections"), "direction"), "{{direction}}")],
                ),
            ),
        ),
        height=7,
    )


def _suite() -> Row:
    return Row(
        "The suite itself",
        (
            (
                4,
                number(
                    "Targets down",
                    "Is a part of the suite away? Scrape targets that do not answer, of jobs whose name begins with "
                    "mtascope.",
                    f"count({_here('up').like(job='mtascope.*')} == 0) or vector(0)",
                    line=thresholds.IDENTITY,
                    names={"0": "none"},
                ),
            ),
            (
                4,
                number(
                    "Series on /metrics",
                    "Does the number of series stay in its budget of 10,000?",
                    total(_here("mtascope_series")),
                    line=thresholds.SERIES,
                ),
            ),
            (
                8,
                graph(
                    "Records per second by road and result",
                    "Does what is written arrive, and is it read? Duplicates are harmless, quarantined ones are not.",
                    [Query(rate(_here("mtascope_collector_records_total"), "road", "result"), "{{road}} {{result}}")],
                    stacked=True,
                ),
            ),
            (
                8,
                graph(
                    "Collector behind by",
                    "Does the collector keep up? Time since the newest event that was loaded happened; a quiet fleet "
                    "lags too, so look at the backlog beside it.",
                    [Query(f"max{by(_HOST)}({_here('mtascope_collector_lag_seconds')})", "{{instance}}")],
                    unit="s",
                    line=thresholds.STALENESS,
                ),
            ),
            (
                8,
                graph(
                    "Commit time",
                    "Is the store slowing the collector? Time to commit one batch.",
                    [
                        Query(quantile(q, _here("mtascope_collector_commit_seconds")), f"p{q * 100:g}")
                        for q in (0.5, 0.99)
                    ],
                    unit="s",
                ),
            ),
            (
                8,
                graph(
                    "Backlog and store",
                    "How much is still to load, and how large has the store grown?",
                    [
                        Query(total(_here("mtascope_collector_backlog_bytes")), "not yet loaded"),
                        Query(total(_here("mtascope_store_bytes")), "store"),
                    ],
                    unit="bytes",
                ),
            ),
            (
                8,
                graph(
                    "Spool room left",
                    "How long can the bundled MTAs still take mail? Free bytes where their spool lies.",
                    [Query(total(_here("mtascope_mta_spool_free_bytes"), "node"), "{{node}}")],
                    unit="bytes",
                ),
            ),
        ),
        height=7,
    )


INFRASTRUCTURE = Board(
    uid="mtascope-infrastructure",
    title="Mail / Infrastructure",
    description="Have the machines room, do connections encrypt, and is the suite itself well?",
    rows=(_hosts(), _tls(), _suite()),
    tags=("mail", "infrastructure"),
    homes=("mtascope_build_info", "node_load1"),
    by_provider=False,
    by_window=False,
)
