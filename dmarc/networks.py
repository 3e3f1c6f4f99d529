"""Whose network an address belongs to, from a MaxMind database file that the operator has (extra `geo`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mta.events.errors import SettingsError

__all__ = ["NetworkNames"]


class NetworkNames:
    """Reads one file. Raises SettingsError where there is none, or no library to read it."""

    def __init__(self, path: Path) -> None:
        try:
            import maxminddb
        except ImportError as error:
            raise SettingsError(
                "needs the package maxminddb", where=str(path), remedy="install mtascope[geo]"
            ) from error
        try:
            self._database = maxminddb.open_database(path)
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            raise SettingsError(f"cannot be read: {error}", where=f"dmarc.network_database {path}") from error

    def name(self, address: str) -> str | None:
        """The network's owner and its country, as far as the file knows them."""
        try:
            found: Any = self._database.get(address)
        except ValueError:
            return None
        if not isinstance(found, dict):
            return None
        country = found.get("country") or {}
        code = country.get("iso_code") if isinstance(country, dict) else country
        owner = found.get("autonomous_system_organization") or found.get("as_name") or found.get("organization")
        told = [str(part)[:100] for part in (owner, found.get("country_code") or code) if part]
        return ", ".join(told) or None
