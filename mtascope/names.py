"""Whether another installed distribution owns one of our package names.

The packages are plain top-level ones. A distribution of the same name in the same environment would win over an
editable install without a word, and half of the suite would be somebody else's code.
"""

from __future__ import annotations

from importlib.metadata import packages_distributions

__all__ = ["DISTRIBUTION", "PACKAGES", "clashes"]

DISTRIBUTION = "mtascope"
PACKAGES = ("analytics", "collector", "dashboards", "dmarc", "exporter", "mta", "mtascope")


def clashes() -> dict[str, list[str]]:
    """Our packages that other distributions install too, with the names of those distributions."""
    owners = packages_distributions()
    return {
        package: sorted(set(owners.get(package, ())) - {DISTRIBUTION})
        for package in PACKAGES
        if set(owners.get(package, ())) - {DISTRIBUTION}
    }
