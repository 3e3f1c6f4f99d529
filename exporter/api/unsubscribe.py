"""One click and no more mail (RFC 8058): the page behind the `List-Unsubscribe` links of the bundled MTA.

The token in the address is the permission, so no other is asked for. Only a POST unsubscribes: mail filters follow
every link with GET. Mailbox providers post `List-Unsubscribe=One-Click`; people press the button of the page.
"""

from __future__ import annotations

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from analytics.store import Store
from analytics.suppression import Entry, add
from mta.events.errors import ParseError
from mta.events.unsubscribe import UnsubscribeTokens, Unsubscription

__all__ = ["unsubscription"]

_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>Unsubscribe</title><h1>{title}</h1>{body}"
)
_FORM = '<form method="post"><button>Unsubscribe</button></form>'
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}


def unsubscription(store: Store) -> APIRouter:
    """`/unsubscribe/{token}`: who posts there is put on the suppression list for the tenant whose mail it was."""
    router = APIRouter(include_in_schema=False)

    @router.get("/unsubscribe/{token}")
    def ask(token: str) -> HTMLResponse:
        wanted = _read(store, token)
        if wanted is None:
            return _page("This link is not valid", "", 404)
        return _page("Unsubscribe?", f"<p>{escape(wanted.recipient)}</p>{_FORM}")

    @router.post("/unsubscribe/{token}")
    def unsubscribe(token: str) -> HTMLResponse:
        wanted = _read(store, token)
        if wanted is None:
            return _page("This link is not valid", "", 404)
        note = f"campaign {wanted.campaign}" if wanted.campaign else None
        add(store, [Entry(address=wanted.recipient, tenant=wanted.tenant, reason="unsubscribe", note=note)])
        return _page("You are unsubscribed", "<p>It takes effect within seconds.</p>")

    return router


def _read(store: Store, token: str) -> Unsubscription | None:
    try:
        return UnsubscribeTokens(store.keyring).read(token)
    except ParseError:
        return None


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, body=body), status, _HEADERS)
