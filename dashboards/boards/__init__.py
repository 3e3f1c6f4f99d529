"""The boards, one module each; `BOARDS` is all of them in the order in which one looks."""

from __future__ import annotations

from dashboards.board import Board
from dashboards.boards.collector import COLLECTOR
from dashboards.boards.delivery import DELIVERY_OVERVIEW
from dashboards.boards.dmarc import DMARC
from dashboards.boards.incidents import INCIDENTS
from dashboards.boards.infrastructure import INFRASTRUCTURE
from dashboards.boards.isp import ISP
from dashboards.boards.nodes import NODES
from dashboards.boards.queue import QUEUE_HEALTH
from dashboards.boards.reasons import REASONS
from dashboards.boards.senders import SENDERS
from dashboards.boards.tls import TLS

__all__ = ["BOARDS"]

BOARDS: tuple[Board, ...] = (
    DELIVERY_OVERVIEW,
    QUEUE_HEALTH,
    ISP,
    REASONS,
    SENDERS,
    INCIDENTS,
    TLS,
    DMARC,
    NODES,
    INFRASTRUCTURE,
    COLLECTOR,
)
