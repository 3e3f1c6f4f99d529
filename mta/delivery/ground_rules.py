"""From the settings to what holds for mail on its way out: shaping files are read, sources and pools are joined."""

from __future__ import annotations

import logging
from importlib import resources

from mta.delivery.egress import Egress
from mta.delivery.limits import Limits, TlsMode
from mta.delivery.opening import Credentials
from mta.delivery.shaping import Shaping, ShapingFile
from mta.events.errors import SettingsError
from mta.settings import MtaSettings

__all__ = ["default_shaping", "read_credentials", "read_egress", "read_shaping"]

_LOG = logging.getLogger(__name__)


def read_shaping(settings: MtaSettings) -> Shaping:
    """The files that the settings name, over our own and over the settings. Raises `SettingsError`."""
    files = [default_shaping()] if settings.shaping_defaults else []
    for path in settings.shaping:
        where = f"mta.shaping {path}"
        try:
            files.append(ShapingFile(path.read_text("utf8"), where))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot be read: {error}", where=where) from error
    shaping = Shaping(_base(settings), files)
    if shaping.ignored:
        _LOG.warning("shaping: these do nothing: %s", ", ".join(shaping.ignored))
    return shaping


def default_shaping() -> ShapingFile:
    """Our own limits for large providers."""
    text = resources.files(__package__).joinpath("data/shaping.toml").read_text("utf8")
    return ShapingFile(text, "mtascope's own shaping.toml")


def read_egress(settings: MtaSettings) -> Egress:
    """The sources and pools of the settings. Raises `SettingsError`."""
    return Egress(
        settings.sources,
        settings.pools,
        hostname=settings.hostname,
        default_source=settings.egress_source,
        default_pool=settings.egress_pool,
    )


def read_credentials(settings: MtaSettings) -> dict[str, Credentials]:
    """Who we are to the smarthosts, by the domain of the route. Raises `SettingsError`."""
    found = {}
    for route in settings.routes:
        if route.user is not None and route.password is not None:
            where = f"mta.routes {route.domain} password {route.password}"
            try:
                password = route.password.read_text("utf8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"cannot be read: {error}", where=where) from error
            found[route.domain] = Credentials(route.user, password)
    return found


def _base(settings: MtaSettings) -> Limits:
    reply = settings.reply_timeout
    return Limits(
        settings.connection_limit,
        settings.max_deliveries_per_connection,
        enable_tls=TlsMode.OPPORTUNISTIC if settings.starttls else TlsMode.DISABLED,
        enable_mta_sts=settings.mta_sts,
        enable_dane=settings.dnssec,
        remember_broken_tls=settings.remember_broken_tls,
        connect_timeout=settings.connect_timeout,
        banner_timeout=settings.connect_timeout,
        ehlo_timeout=reply,
        starttls_timeout=min(reply, 30.0),
        auth_timeout=reply,
        mail_from_timeout=reply,
        rcpt_to_timeout=reply,
        data_timeout=reply,
        data_dot_timeout=reply,
        idle_timeout=settings.idle_timeout,
    )
