"""Every alert fires on the trouble that it is for, and stays silent beside it.

Each row of `CASES` is series over four hours, one value a minute, in promtool's notation: what makes the alert fire,
and what is close to it but no reason. One run of promtool judges them all.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

import pytest
import yaml

from dashboards.alerts import ALERTS
from dashboards.build import build_rules

SUITE = 'job="mtascope",instance="mail:2000"'
GMAIL = f'{SUITE},provider="gmail"'
LONG = 240
"""Minutes that a scenario lasts; the verdict is read at its end."""


@dataclass(frozen=True)
class Case:
    """Series (selector to promtool values) that make an alert fire, and those that do not."""

    alert: str
    fires: dict[str, str]
    silent: dict[str, str]
    step: str = "1m"
    """Between two values; the rules are evaluated every fifth, or every one if it is longer than a minute."""


def flat(value: float) -> str:
    return f"{value:g}x{LONG}"


def rising(step: float, start: float = 0) -> str:
    return f"{start:g}{step:+g}x{LONG}"


def window(label: str, measure: str, labels: str = GMAIL) -> str:
    return f'mtascope_window_recipients{{{labels},window="{label}",measure="{measure}"}}'


def attempts(label: str, outcome: str, labels: str = GMAIL) -> str:
    return f'mtascope_window_attempts{{{labels},window="{label}",outcome="{outcome}"}}'


def on(name: str, labels: str = "") -> str:
    return f"{name}{{{SUITE}{',' if labels else ''}{labels}}}"


def day(bad: float, sent: float, measure: str, windows: tuple[str, ...]) -> dict[str, str]:
    """The same share in each of these windows, scaled by their length; other windows of the past are fine."""
    hours = {"5m": 1 / 12, "15m": 1 / 4, "1h": 1, "6h": 6, "1d": 24, "3d": 72}
    series = {}
    for label, factor in hours.items():
        series[window(label, "sent")] = flat(round(sent * factor))
        series[window(label, measure)] = flat(round((bad if label in windows else 0.005) * sent * factor))
    return series


def complaints(share: float) -> dict[str, str]:
    return {window("1d", "complainable"): flat(100_000), window("1d", "complained"): flat(100_000 * share)}


def stuck(delivered_hour: float, waiting: float = 500) -> dict[str, str]:
    return {
        on("mtascope_in_flight_recipients", 'provider="gmail",state="deferred"'): flat(waiting),
        window("1h", "delivered"): flat(delivered_hour),
        window("1d", "delivered"): flat(24_000),
    }


def disk(name: str, available: str) -> dict[str, str]:
    labels = f'fstype="{name}",mountpoint="/srv",device="/dev/sda1"'
    return {
        on("node_filesystem_avail_bytes", labels): available,
        on("node_filesystem_size_bytes", labels): flat(1e12),
    }


def tls(failed: float) -> dict[str, str]:
    name = "mtascope_mta_tls_connections_total"
    labels = 'node="a",provider="gmail",direction="outbound"'
    return {
        on(name, f'{labels},result="ok",tls_version="TLSv1.3"'): rising(10),
        on(name, f'{labels},result="failed",tls_version=""'): rising(failed),
    }


def reports(before: float, now: float) -> dict[str, str]:
    """Share of messages that pass: for long, and in the last days."""
    labels = 'domain="example.com",sender_kind="own"'
    return {
        on("mtascope_dmarc_messages", f'{labels},result="pass"'): f"{before:g}x{LONG - 9} {now:g}x8",
        on("mtascope_dmarc_messages", f'{labels},result="fail"'): f"{1000 - before:g}x{LONG - 9} {1000 - now:g}x8",
    }


def growth(per_minute: float, start: float) -> dict[str, str]:
    """A queue that begins to grow 40 minutes before the end."""
    grows = f"{flat(start).replace(str(LONG), str(LONG - 41))} {start:g}{per_minute:+g}x40"
    return {on("mtascope_in_flight_recipients", 'provider="gmail",state="fresh"'): grows}


NODE = 'node="mx1"'
SPOOL = on("mtascope_mta_spool_free_bytes", NODE)
STARTED = on("mtascope_mta_start_timestamp_seconds", NODE)
UP = {on("up"): flat(1)}

CASES = (
    Case("MtascopeBounceSpike", day(0.20, 1200, "bounced", ("5m",)), day(0.04, 1200, "bounced", ("5m",))),
    Case("MtascopeBlocked", day(0.20, 1200, "block", ("15m",)), day(0.20, 1200, "block", ("15m", "1h", "6h", "1d"))),
    Case(
        "MtascopeBounceSpike",  # it is always so at this hour of the week
        day(0.20, 1200, "bounced", ("5m",)),
        {
            **day(0.20, 1200, "bounced", ("5m",)),
            on("mtascope_baseline_upper_ratio", 'provider="gmail",signal="bounce"'): flat(0.12),
        },
    ),
    Case(
        "MtascopeDeferralSurge",
        {attempts("15m", "deferred"): flat(900), attempts("15m", "delivered"): flat(300)},
        {attempts("15m", "deferred"): flat(100), attempts("15m", "delivered"): flat(300)},
    ),
    Case("MtascopeComplaintsHigh", complaints(0.0015), complaints(0.0005)),
    Case("MtascopeComplaintsCritical", complaints(0.004), complaints(0.0015)),
    Case("MtascopeBadAddresses", day(0.08, 2000, "hard", ("1h",)), day(0.01, 2000, "hard", ("1h",))),
    Case("MtascopeProviderSilent", stuck(0), stuck(3)),
    Case(
        "MtascopeIncidentOpen",
        {on("mtascope_incident_open", 'kind="bounces",provider="gmail"'): flat(1)},
        {on("mtascope_incident_open", 'kind="bounces",provider="gmail"'): flat(0)},
    ),
    Case(
        "MtascopeDeliveryBurnsFast",
        day(0.6, 1200, "bounced", ("5m", "15m", "1h")),
        day(0.6, 1200, "bounced", ("1h", "6h")),  # it was bad, but is over
    ),
    Case(
        "MtascopeDeliveryBurnsSteadily",
        day(0.25, 1200, "bounced", ("5m", "15m", "1h", "6h")),
        day(0.25, 1200, "bounced", ("5m", "15m", "1h")),
    ),
    Case(
        "MtascopeDeliveryBurnsSlowly",
        day(0.12, 1200, "expired", ("1h", "6h", "1d")),
        day(0.12, 1200, "expired", ("1h", "6h")),
    ),
    Case(
        "MtascopeDeliveryBurnsOnAndOn",
        day(0.04, 1200, "bounced", ("6h", "1d", "3d")),
        day(0.02, 1200, "bounced", ("6h", "1d", "3d")),
    ),
    Case(
        "MtascopeQueueOld",
        {on("mtascope_queue_oldest_age_seconds", 'provider="gmail"'): flat(20_000), **stuck(3)},
        {on("mtascope_queue_oldest_age_seconds", 'provider="gmail"'): flat(20_000), **stuck(3, waiting=4)},
    ),
    Case("MtascopeQueueGrowing", growth(100, 100), growth(10, 10_000)),
    Case(
        "MtascopeDeliveryStalled",
        {**growth(1, 500), attempts("15m", "delivered"): flat(0), attempts("1d", "delivered"): flat(50_000)},
        {**growth(1, 500), attempts("15m", "deferred"): flat(9), attempts("1d", "delivered"): flat(50_000)},
    ),
    Case(
        "MtascopeDeadLetters",
        {on("mtascope_mta_dead_letter_messages", f'{NODE},reason="broken"'): flat(40)},
        {on("mtascope_mta_dead_letter_messages", f'{NODE},reason="broken"'): flat(2)},
    ),
    Case("MtascopeSpoolFull", {SPOOL: flat(5e8)}, {SPOOL: flat(5e9)}),
    Case("MtascopeSpoolFilling", {SPOOL: rising(-3e7, 8e9)}, {SPOOL: flat(4e9)}),
    Case(
        "MtascopeSpoolSlow",
        {
            on("mtascope_mta_journal_sync_seconds_bucket", f'{NODE},le="0.5"'): rising(9),
            on("mtascope_mta_journal_sync_seconds_bucket", f'{NODE},le="1"'): rising(10),
            on("mtascope_mta_journal_sync_seconds_bucket", f'{NODE},le="+Inf"'): rising(10),
        },
        {
            on("mtascope_mta_journal_sync_seconds_bucket", f'{NODE},le="0.5"'): rising(10),
            on("mtascope_mta_journal_sync_seconds_bucket", f'{NODE},le="1"'): rising(10),
            on("mtascope_mta_journal_sync_seconds_bucket", f'{NODE},le="+Inf"'): rising(10),
        },
    ),
    Case("MtascopeMtaGone", {STARTED: f"1000x{LONG - 14}", **UP}, {STARTED: flat(1000), **UP}),
    Case("MtascopeMtaRestarting", {STARTED: rising(300)}, {STARTED: f"1000x{LONG - 20} 2000x20"}),
    Case("MtascopeTlsFailing", tls(2), tls(0)),
    Case(
        "MtascopeCollectorBehind",
        {on("mtascope_collector_lag_seconds"): flat(900)},
        {on("mtascope_collector_lag_seconds"): flat(30)},
    ),
    Case(
        "MtascopeCollectorFailing",
        {on("mtascope_collector_last_error_timestamp_seconds"): rising(60, 1)},
        {on("mtascope_collector_last_error_timestamp_seconds"): flat(3600)},
    ),
    Case(
        "MtascopeLandingFull",
        {
            on("mtascope_collector_landing_bytes", 'road="http"'): flat(1.9e9),
            on("mtascope_collector_landing_capacity_bytes", 'road="http"'): flat(2e9),
        },
        {
            on("mtascope_collector_landing_bytes", 'road="http"'): flat(1e8),
            on("mtascope_collector_landing_capacity_bytes", 'road="http"'): flat(2e9),
        },
    ),
    Case(
        "MtascopeClockAhead",
        {on("mtascope_clock_ahead_seconds", NODE): flat(3600)},
        {on("mtascope_clock_ahead_seconds", NODE): flat(2)},
    ),
    Case(
        "MtascopeQuarantineGrowing",
        {on("mtascope_quarantined_records", 'reason="malformed"'): rising(2)},
        {on("mtascope_quarantined_records", 'reason="malformed"'): flat(500)},
    ),
    Case("MtascopeDown", {on("up"): flat(0)}, UP),
    Case(
        "MtascopeWatermarkStale",
        {
            on("mtascope_watermark_timestamp_seconds", NODE): flat(60),
            window("1d", "injected"): flat(50_000),
        },
        {
            on("mtascope_watermark_timestamp_seconds", NODE): flat(60),
            window("1d", "injected"): flat(50),
        },
    ),
    Case(
        "MtascopeIdentityBroken",
        {on("mtascope_identity_broken_recipients"): flat(-3)},
        {on("mtascope_identity_broken_recipients"): flat(0)},
    ),
    Case(
        "MtascopeSnapshotStale",
        {on("mtascope_snapshot_timestamp_seconds"): flat(60)},
        {on("mtascope_snapshot_timestamp_seconds"): rising(60)},
    ),
    Case(
        "MtascopeSourceFailing",
        {on("mtascope_source_success", 'source="store"'): flat(0)},
        {on("mtascope_source_success", 'source="store"'): flat(1)},
    ),
    Case("MtascopeTooManySeries", {on("mtascope_series"): flat(30_000)}, {on("mtascope_series"): flat(9_000)}),
    Case(
        "MtascopeWatchStale",
        {on("mtascope_watch_judged_timestamp_seconds"): flat(60), window("1d", "injected"): flat(50_000)},
        {on("mtascope_watch_judged_timestamp_seconds"): rising(60, 1), window("1d", "injected"): flat(50_000)},
    ),
    Case(
        "MtascopeNotificationsStuck",
        {on("mtascope_notifications_waiting", 'channel="mail"'): flat(2)},
        {on("mtascope_notifications_waiting", 'channel="mail"'): flat(0)},
    ),
    Case(
        "MtascopeReportMailboxDown",
        {on("mtascope_dmarc_mailbox_up", 'mailbox="rua"'): flat(0)},
        {on("mtascope_dmarc_mailbox_up", 'mailbox="rua"'): flat(1)},
    ),
    Case(
        "MtascopeDmarcNewSender",
        {on("mtascope_dmarc_new_unknown_messages", 'domain="example.com"'): flat(5000)},
        {on("mtascope_dmarc_new_unknown_messages", 'domain="example.com"'): flat(5)},
    ),
    Case("MtascopeDmarcPassDropped", reports(990, 600), reports(700, 600), step="6h"),
    Case(
        "MtascopeDmarcReportsStopped",
        {on("mtascope_dmarc_last_report_timestamp_seconds", 'domain="example.com"'): flat(-6 * 86_400)},
        {on("mtascope_dmarc_last_report_timestamp_seconds", 'domain="example.com"'): flat(-86_400)},
    ),
    Case(
        "MtascopeDmarcForgedReport",
        {on("mtascope_dmarc_forged_reports_total", 'kind="aggregate"'): f"0x{LONG - 60} 3x59"},
        {on("mtascope_dmarc_forged_reports_total", 'kind="aggregate"'): flat(7)},
    ),
    Case(
        "MtascopeTlsReportFailures",
        {
            on("mtascope_dmarc_tls_window_sessions", 'domain="example.com",result="success"'): flat(800),
            on("mtascope_dmarc_tls_window_sessions", 'domain="example.com",result="certificate-expired"'): flat(200),
        },
        {
            on("mtascope_dmarc_tls_window_sessions", 'domain="example.com",result="success"'): flat(999),
            on("mtascope_dmarc_tls_window_sessions", 'domain="example.com",result="certificate-expired"'): flat(1),
        },
    ),
    Case("MtascopeDiskFull", disk("ext4", flat(5e10)), disk("tmpfs", flat(0))),
    Case("MtascopeDiskFilling", disk("xfs", rising(-1e9, 5e11)), disk("xfs", rising(-1e8, 9e11))),
    Case(
        "MtascopeCpuBusy",
        {on("node_cpu_seconds_total", 'cpu="0",mode="idle"'): rising(1)},
        {on("node_cpu_seconds_total", 'cpu="0",mode="idle"'): rising(30)},
    ),
    Case(
        "MtascopeMemoryLow",
        {on("node_memory_MemAvailable_bytes"): flat(1e9), on("node_memory_MemTotal_bytes"): flat(24e9)},
        {on("node_memory_MemAvailable_bytes"): flat(8e9), on("node_memory_MemTotal_bytes"): flat(24e9)},
    ),
)


def scenario(case: Case, series: dict[str, str], firing: int) -> dict[str, object]:
    """A test of promtool: so many alerts of that name fire at the end."""
    samples = [{"value": firing}] if firing else []
    return {
        "name": f"{case.alert} {'fires' if firing else 'is silent'}",
        "interval": case.step,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}})',
                "eval_time": f"{LONG * int(case.step[:-1])}{case.step[-1]}",
                "exp_samples": samples,
            }
        ],
    }


def test_every_alert_has_a_case():
    assert {case.alert for case in CASES} == {alert.name for alert in ALERTS}


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(("step", "evaluated"), [("1m", "5m"), ("6h", "6h")])
def test_every_alert_fires_on_its_trouble_and_not_beside_it(step, evaluated, tmp_path):
    (built,) = build_rules(tmp_path)
    document = yaml.safe_load(built.read_text())
    for group in document["groups"]:
        group["interval"] = evaluated  # ten times the speed of the test, and more
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(document))
    cases = [case for case in CASES if case.step == step]
    tests = [scenario(case, case.fires, 1) for case in cases] + [scenario(case, case.silent, 0) for case in cases]
    path = tmp_path / "cases.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": evaluated, "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
