"""CPU, memory, disk, network and file systems of this machine, for hosts where no node_exporter runs.

Names, labels and types are those of Prometheus' node_exporter (https://github.com/prometheus/node_exporter),
so that boards and rules made for it work unchanged. The values come from psutil at scrape time; they are cheap
to read. What a container or an operating system hides leaves its family out and never fails a scrape. Devices
are bounded, so a machine with a thousand virtual interfaces stays within the series budget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from mta.events.metric import Metric

__all__ = ["MAX_DEVICES", "METRICS", "HostCollector", "HostCounters"]

MAX_DEVICES = 32
"""At most so many CPUs, disks, interfaces and file systems are listed, the first in the order of their names."""


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "counter", text, labels, name.split("_")[-2], foreign=True)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "gauge", text, labels, "bytes" if name.endswith("_bytes") else "", foreign=True)


METRICS: tuple[Metric, ...] = (
    _counter("node_cpu_seconds_total", "Seconds that each CPU spent in each mode.", "cpu", "mode"),
    _gauge("node_load1", "Load average over one minute."),
    _gauge("node_memory_MemTotal_bytes", "Memory of the machine."),
    _gauge("node_memory_MemAvailable_bytes", "Memory that programs can still get without swapping."),
    _counter("node_disk_read_bytes_total", "Bytes read from each disk.", "device"),
    _counter("node_disk_written_bytes_total", "Bytes written to each disk.", "device"),
    _counter("node_disk_io_time_seconds_total", "Seconds in which each disk was busy.", "device"),
    _counter("node_network_receive_bytes_total", "Bytes received by each interface.", "device"),
    _counter("node_network_transmit_bytes_total", "Bytes sent by each interface.", "device"),
    _gauge("node_filesystem_size_bytes", "Size of each file system.", "device", "fstype", "mountpoint"),
    _gauge(
        "node_filesystem_avail_bytes",
        "Space that a program without privileges can still use.",
        "device",
        "fstype",
        "mountpoint",
    ),
)

_BY_NAME = {metric.name: metric for metric in METRICS}
_CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
# Partitions and virtual disks repeat what their whole disk counts; veth pairs come and go with containers.
_IGNORED_DISKS = re.compile(r"(z?ram|loop|fd|dm-)\d+|(h|s|v|xv)d[a-z]+\d+|(nvme\d+n\d+|mmcblk\d+)p\d+|sr\d+")
_IGNORED_INTERFACES = re.compile(r"veth.*|cali.*|tap.*")

Family = CounterMetricFamily | GaugeMetricFamily


class HostCounters(Protocol):
    """What is read of psutil; tests and other systems may hand in something else."""

    def cpu_times(self, *, percpu: bool) -> Any:
        """Seconds by mode, one tuple for each CPU."""

    def getloadavg(self) -> tuple[float, float, float]:
        """Load over 1, 5 and 15 minutes."""

    def virtual_memory(self) -> Any:
        """`total` and `available`, in bytes."""

    def disk_io_counters(self, *, perdisk: bool) -> Any:
        """Counters by device; None where the system has none."""

    def net_io_counters(self, *, pernic: bool) -> Any:
        """Counters by interface."""

    def disk_partitions(self) -> Any:
        """File systems on real devices."""

    def disk_usage(self, path: str) -> Any:
        """`total` and `free`, in bytes, of the file system that holds the path."""


class HostCollector(Collector):
    """Reads the host when it is scraped; register it in a prometheus-client registry.

    `paths` are mount points to show besides those on real devices: in a container, `/` and the data folder.
    """

    def __init__(self, host: HostCounters = psutil, *, paths: tuple[str, ...] = ("/",)) -> None:
        self._host = host
        self._paths = paths

    def describe(self) -> Iterable[Family]:
        """The families without values, so that registering reads nothing."""
        return [_family(metric.name) for metric in METRICS]

    def collect(self) -> Iterator[Family]:
        """The families that this host can tell, each with at least one sample."""
        readers = (self._cpu, self._load, self._memory, self._disks, self._network, self._filesystems)
        for reader in readers:
            yield from _whatever_is_known(reader)

    def _cpu(self) -> Iterable[Family]:
        seconds = _family("node_cpu_seconds_total")
        for number, times in enumerate(self._host.cpu_times(percpu=True)[:MAX_DEVICES]):
            for mode in _CPU_MODES:
                if (value := getattr(times, mode, None)) is not None:
                    seconds.add_metric([str(number), mode], value)
        return [seconds]

    def _load(self) -> Iterable[Family]:
        load = _family("node_load1")
        load.add_metric([], self._host.getloadavg()[0])
        return [load]

    def _memory(self) -> Iterable[Family]:
        memory = self._host.virtual_memory()
        total, available = _family("node_memory_MemTotal_bytes"), _family("node_memory_MemAvailable_bytes")
        total.add_metric([], memory.total)
        available.add_metric([], memory.available)
        return [total, available]

    def _disks(self) -> Iterable[Family]:
        read, written = _family("node_disk_read_bytes_total"), _family("node_disk_written_bytes_total")
        busy = _family("node_disk_io_time_seconds_total")
        for device, counters in _bounded(self._host.disk_io_counters(perdisk=True), _IGNORED_DISKS):
            read.add_metric([device], counters.read_bytes)
            written.add_metric([device], counters.write_bytes)
            if (milliseconds := getattr(counters, "busy_time", None)) is not None:
                busy.add_metric([device], milliseconds / 1000)
        return [read, written, busy]

    def _network(self) -> Iterable[Family]:
        received, sent = (
            _family("node_network_receive_bytes_total"),
            _family("node_network_transmit_bytes_total"),
        )
        for device, counters in _bounded(self._host.net_io_counters(pernic=True), _IGNORED_INTERFACES):
            received.add_metric([device], counters.bytes_recv)
            sent.add_metric([device], counters.bytes_sent)
        return [received, sent]

    def _filesystems(self) -> Iterable[Family]:
        size, available = _family("node_filesystem_size_bytes"), _family("node_filesystem_avail_bytes")
        for mountpoint, (device, fstype) in sorted(self._mounts().items())[:MAX_DEVICES]:
            try:
                usage = self._host.disk_usage(mountpoint)
            except OSError:  # a mount that vanished or that we may not see must not hide the others
                continue
            size.add_metric([device, fstype, mountpoint], usage.total)
            available.add_metric([device, fstype, mountpoint], usage.free)
        return [size, available]

    def _mounts(self) -> dict[str, tuple[str, str]]:
        """Device and type by mount point; the same device mounted again (bind mounts) is listed once."""
        mounts: dict[str, tuple[str, str]] = {}
        seen = set()
        for partition in self._host.disk_partitions():
            if partition.device not in seen and partition.fstype != "squashfs":
                seen.add(partition.device)
                mounts[partition.mountpoint] = (partition.device, partition.fstype)
        return dict.fromkeys(self._paths, ("", "")) | mounts


def _family(name: str) -> Family:
    """An empty family as the catalogue declares it."""
    metric = _BY_NAME[name]
    kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.help, labels=metric.labels)


def _whatever_is_known(read: Callable[[], Iterable[Family]]) -> Iterator[Family]:
    """The non-empty families of a reader; none where the system hides the figures."""
    try:
        families = list(read())
    except (OSError, AttributeError, NotImplementedError, RuntimeError, psutil.Error):
        return
    yield from (family for family in families if family.samples)


def _bounded(counters: Any, ignored: re.Pattern[str]) -> list[tuple[str, Any]]:
    """The first devices by name that count something of their own."""
    return sorted(item for item in (counters or {}).items() if not ignored.fullmatch(item[0]))[:MAX_DEVICES]
