"""One settings file for the whole suite: a table for each part, every key optional, unknown keys refused.

TOML for people; a file whose name ends in `.json` holds the same as JSON, for programs that write settings.

data = "/var/lib/mtascope"

[mta]         # mta/settings.py
[collector]   # collector/settings.py
[dmarc]       # dmarc/settings.py
[store]       # analytics/settings.py
[http]        # exporter/settings.py
[providers]   # here
[classify]    # rules for replies
[incidents]   # analytics/incidents/settings.py
[alerting]    # exporter/alerting/settings.py
[clock]       # here: scaled time, for demonstrations
"""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analytics.incidents.settings import WatchSettings
from analytics.settings import StoreSettings
from collector.settings import CollectorSettings
from dmarc.settings import DmarcSettings
from exporter.alerting.settings import AlertingSettings
from exporter.settings import HttpSettings
from mta.events.errors import SettingsError
from mta.events.instants import scaled
from mta.settings import MtaSettings

__all__ = ["ClockSettings", "DataFolder", "Settings", "load_settings"]


class DataFolder:
    """Where everything lies under the data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys = root / "keys.json"
        self.store = root / "store" / "mtascope.duckdb"
        self.suppression = root / "store" / "suppression.list"
        self.run = root / "run"
        self.owner_socket = self.run / "owner.sock"
        self.tokens = root / "tokens.json"
        self.console_token = self.run / "console.token"
        self.landing = root / "landing"
        self.mta_log = root / "mta" / "log"
        self.mta_spool = root / "mta" / "spool"

    def mta_socket(self, worker: int) -> Path:
        """The control socket of one MTA worker."""
        return self.run / f"mta-{worker}.sock"

    def create(self) -> None:
        """Make the folders that several parts share; the run folder is for this user only, it holds sockets."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.run.mkdir(mode=0o700, exist_ok=True)
        self.mta_log.mkdir(parents=True, exist_ok=True)


class ClockSettings(BaseModel):
    """A clock that was right at `origin` (microseconds) and runs `speed` times as fast: days can be watched in minutes.

    For demonstrations only: every process of a data directory must be told the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    speed: float = Field(default=1.0, ge=1.0, le=3600.0)
    origin: int = Field(default=0, ge=0)

    def __call__(self) -> int:
        """Now."""
        now = time.time_ns() // 1000
        return now if self.speed == 1.0 else scaled(now, self.origin, self.speed)


class ClassifySettings(BaseModel):
    """`[classify]`: rules of your own for replies, beside those that are shipped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Path, ...] = ()
    """Rule files, ours or KumoMTA's, in the order in which they are heard."""
    classes: dict[str, str] = {}
    """What classes of KumoMTA's files mean that only you know: their name, and one of ours."""


class ProviderSettings(BaseModel):
    """`[providers]`: which mailbox provider serves a domain, where you know better than the map that ships."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: Path | None = None
    """CSV `provider,kind,value` in the form of docs/providers.md; its rows win over ours."""
    groups: Path | None = None
    """CSV `provider,group,gateway,feedback_loop,labelled`; its rows win over ours."""
    resolve: bool = False
    """Ask DNS, in the background, for the MX of domains that the log tells nothing of."""
    resolve_per_minute: float = Field(default=30, gt=0, le=6000)


class Settings(BaseModel):
    """Everything that can be set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Path("var")
    mta: MtaSettings = Field(default_factory=MtaSettings)
    collector: CollectorSettings = Field(default_factory=CollectorSettings)
    dmarc: DmarcSettings = Field(default_factory=DmarcSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    providers: ProviderSettings = Field(default_factory=ProviderSettings)
    classify: ClassifySettings = Field(default_factory=ClassifySettings)
    incidents: WatchSettings = Field(default_factory=WatchSettings)
    alerting: AlertingSettings = Field(default_factory=AlertingSettings)
    clock: ClockSettings = Field(default_factory=ClockSettings)

    @property
    def folder(self) -> DataFolder:
        """The data directory's layout."""
        return DataFolder(self.data)

    @property
    def http_with_tokens(self) -> HttpSettings:
        """`http` with the place of the tokens, which is in the data directory unless it says otherwise."""
        return self.http.model_copy(update={"tokens_file": self.http.tokens_file or self.folder.tokens})


def load_settings(config: str | Path | None = None, data_dir: str | Path | None = None) -> Settings:
    """Read the settings file, if one is named; `data_dir` overrides its `data`. SettingsError names file and key."""
    content: dict[str, Any] = {}
    if config is not None:
        path = Path(config)
        try:
            content = (orjson.loads if path.suffix == ".json" else tomllib.loads)(path.read_text("utf8"))
        except FileNotFoundError as error:
            raise SettingsError("no such settings file", where=str(path)) from error
        except (tomllib.TOMLDecodeError, orjson.JSONDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot be read: {error}", where=str(path)) from error
        if not isinstance(content, dict):
            raise SettingsError("holds no table", where=str(path))
    if data_dir is not None:
        content["data"] = data_dir
    return _validated(content, str(config) if config is not None else "settings")


def _validated(content: dict[str, Any], where: str) -> Settings:
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
        what = "no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise SettingsError(f"{what}{more}", where=f"{where}: {key}") from error
