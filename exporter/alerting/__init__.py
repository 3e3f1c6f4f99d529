"""Telling people of incidents: by Alertmanager, webhook or mail. What is to be told waits in the store until taken."""

from __future__ import annotations

from exporter.alerting.channels import Channel, channels_of
from exporter.alerting.courier import Courier, CourierHealth
from exporter.alerting.settings import AlertingSettings

__all__ = ["AlertingSettings", "Channel", "Courier", "CourierHealth", "channels_of"]
