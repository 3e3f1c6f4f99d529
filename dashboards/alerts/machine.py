"""The machines: disk, CPU, memory, by node_exporter's names, whoever exports them."""

from __future__ import annotations

from dashboards import thresholds
from dashboards.promql import Series, metric
from dashboards.rules import Alert, Group

__all__ = ["GROUP"]

_BOARD = "/d/mtascope-infrastructure"
_WITHOUT_DATA = ("tmpfs", "overlay", "squashfs", "ramfs", "devtmpfs", "iso9660", "autofs")
_PLACE = "{{ $labels.mountpoint }} of {{ $labels.instance }}"


def _disk(name: str) -> Series:
    """A file system's figure, without those that hold no data."""
    return metric(name).without(fstype=_WITHOUT_DATA)


_AVAILABLE, _SIZE = _disk("node_filesystem_avail_bytes"), _disk("node_filesystem_size_bytes")
_FREE = f"{_AVAILABLE} / ({_SIZE} > 0)"

_DISK_FULL = Alert(
    "MtascopeDiskFull",
    f"{_FREE} < {thresholds.DISK_FREE.critical:g}",
    "critical",
    f"{_PLACE} is nearly full",
    f"{{{{ $value | humanizePercentage }}}} of {_PLACE} are free. A store or a spool on it stops taking anything new "
    "when it is full; what it has acknowledged is safe.",
    _BOARD,
    lasting="10m",
    scope="machine",
    matter="disk",
)
_DISK_FILLING = Alert(
    "MtascopeDiskFilling",
    f"predict_linear({_AVAILABLE}[6h], 24 * 3600) < 0\nand {_FREE} < {thresholds.DISK_FILLING:g}",
    "warning",
    f"{_PLACE} will be full within a day",
    f"At the pace of the last six hours {_PLACE} runs out within a day.",
    _BOARD,
    lasting="60m",
    scope="machine",
    matter="disk",
)
_CPU_BUSY = Alert(
    "MtascopeCpuBusy",
    f"1 - avg by (job, instance) (rate({metric('node_cpu_seconds_total').where(mode='idle')}[5m]))"
    f" >= {thresholds.CPU_BUSY.critical:g}",
    "warning",
    "{{ $labels.instance }} has no CPU left",
    "{{ $value | humanizePercentage }} of CPU time on {{ $labels.instance }} is in use, and has been for half an hour.",
    _BOARD,
    lasting="30m",
    scope="machine",
    matter="cpu",
)
_MEMORY_LOW = Alert(
    "MtascopeMemoryLow",
    f"{metric('node_memory_MemAvailable_bytes')} / ({metric('node_memory_MemTotal_bytes')} > 0)"
    f" < {thresholds.MEMORY_FREE.critical:g}",
    "warning",
    "{{ $labels.instance }} has little memory left",
    "{{ $value | humanizePercentage }} of the memory of {{ $labels.instance }} can still be had without swapping.",
    _BOARD,
    lasting="15m",
    scope="machine",
    matter="memory",
)

GROUP = Group("mtascope-machine", (_DISK_FULL, _DISK_FILLING, _CPU_BUSY, _MEMORY_LOW))
"""The alerts on machines."""
