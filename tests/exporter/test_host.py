"""The machine under node_exporter's names, and nothing where the machine does not tell."""

from types import SimpleNamespace

import psutil
from prometheus_client import CollectorRegistry, generate_latest

from exporter.host import MAX_DEVICES, METRICS, HostCollector


class BareMachine:
    """A container that hides everything but its memory and what a test adds."""

    def __getattr__(self, name):
        raise AttributeError(name)

    def virtual_memory(self):
        return SimpleNamespace(total=1000, available=400)


class Disks(BareMachine):
    def __init__(self, *names):
        self.names = names

    def disk_io_counters(self, *, perdisk):
        counters = SimpleNamespace(read_bytes=1, write_bytes=2, busy_time=1500)
        return dict.fromkeys(self.names, counters) or None


class Mounted(BareMachine):
    def disk_partitions(self):
        return [SimpleNamespace(device=f"/dev/{name}", mountpoint=f"/{name}", fstype="ext4") for name in ("a", "b")]

    def disk_usage(self, path):
        if path == "/a":
            raise PermissionError(path)
        return SimpleNamespace(total=100, free=25)


def samples(host) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in HostCollector(host).collect()
        for sample in family.samples
    }


def test_this_machine_tells_its_cpu_memory_and_network():
    names = {name for name, *_ in samples(psutil)}
    assert {"node_cpu_seconds_total", "node_memory_MemTotal_bytes", "node_network_receive_bytes_total"} <= names


def test_only_declared_families_are_exposed_with_their_declared_types():
    declared = {metric.name.removesuffix("_total"): (metric.type, metric.help) for metric in METRICS}
    exposed = {family.name: (family.type, family.documentation) for family in HostCollector().collect()}
    assert exposed.items() <= declared.items()


def test_registering_reads_nothing():
    CollectorRegistry().register(HostCollector(None))


def test_what_a_container_hides_is_left_out():
    assert samples(BareMachine()) == {
        ("node_memory_MemTotal_bytes",): 1000,
        ("node_memory_MemAvailable_bytes",): 400,
    }


def test_disks_without_counters_are_left_out():
    assert not [name for name, *_ in samples(Disks()) if "disk" in name]


def test_partitions_and_virtual_disks_are_not_counted_again():
    found = samples(Disks("sda", "sda1", "nvme0n1", "nvme0n1p2", "loop0", "dm-0", "vda"))
    assert {device for name, *device in found if name == "node_disk_read_bytes_total" for device in device} == {
        "sda",
        "nvme0n1",
        "vda",
    }


def test_busy_time_is_in_seconds():
    assert samples(Disks("sda"))["node_disk_io_time_seconds_total", "sda"] == 1.5


def test_a_thousand_disks_stay_within_bounds():
    found = samples(Disks(*(f"disk{number}" for number in range(1000))))
    assert sum(name == "node_disk_read_bytes_total" for name, *_ in found) == MAX_DEVICES


def test_a_file_system_that_may_not_be_seen_hides_no_other():
    found = samples(Mounted())
    assert found["node_filesystem_avail_bytes", "/dev/b", "ext4", "/b"] == 25
    assert ("node_filesystem_avail_bytes", "/dev/a", "ext4", "/a") not in found


def test_the_page_is_valid_exposition_format():
    registry = CollectorRegistry()
    registry.register(HostCollector())
    assert b"# TYPE node_memory_MemTotal_bytes gauge" in generate_latest(registry)
