"""Messages handed in by HTTP: KumoMTA's request and what it becomes for each recipient. Pure.

Templates are Jinja's, in its sandbox. Of Handlebars the plainest is there: `{{ name }}` stands for a substitution, and
anything that would need more is refused instead of being sent to a customer as it stands.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from email import policy
from email.message import EmailMessage
from email.utils import formataddr, formatdate, make_msgid
from functools import lru_cache
from typing import Any, Literal

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["InjectionRequest", "render"]

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]{0,63})\s*\}\}")
_TOO_CLEVER = re.compile(r"\{%|\{#|\{\{")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_LINE_BREAK = re.compile(r"[\r\n]+")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Person(_Strict):
    """An address and the name to show with it."""

    email: str
    name: str = ""


class Attachment(_Strict):
    """`data` is base64 when `base64` is true, else text."""

    data: str
    content_type: str
    file_name: str | None = None
    content_id: str | None = None
    base64: bool = False


class Content(_Strict):
    """A message to be built."""

    from_: Person | None = Field(default=None, alias="from")
    reply_to: Person | None = None
    subject: str | None = None
    headers: Mapping[str, str] = {}
    text_body: str | None = None
    html_body: str | None = None
    amp_html_body: str | None = None
    attachments: tuple[Attachment, ...] = ()


class Recipient(_Strict):
    """One recipient, with what is put into the message for it."""

    email: str
    name: str | None = None
    substitutions: dict[str, Any] = {}
    metadata: Mapping[str, Any] = {}


class InjectionRequest(_Strict):
    """KumoMTA's request. The deferred modes are taken and ignored: every message is durable before the answer."""

    envelope_sender: str
    recipients: tuple[Recipient, ...] = Field(min_length=1, max_length=10_000)
    content: str | Content
    substitutions: dict[str, Any] = {}
    template_dialect: Literal["Jinja", "Static", "Handlebars"] = "Jinja"
    trace_headers: Mapping[str, Any] | None = None
    deferred_spool: bool = False
    deferred_generation: bool = False


def render(request: InjectionRequest, recipient: Recipient) -> bytes:
    """The message for one recipient, every line ended by CRLF. ValueError says what cannot be put together."""
    values = {
        "email": recipient.email,
        "name": recipient.name or "",
        **request.substitutions,
        **recipient.substitutions,
    }
    fill = _Filler(values, request.template_dialect)
    if isinstance(request.content, Content):
        return _built(request.content, recipient, fill)
    header, gap, body = request.content.replace("\r\n", "\n").partition("\n\n")
    return _LINE_END.sub(b"\r\n", f"{fill.line(header)}{gap}{fill(body)}".encode("utf8", "surrogateescape"))


class _Filler:
    """Puts substitutions into texts. ValueError says what is wrong with a template."""

    def __init__(self, values: Mapping[str, Any], dialect: str) -> None:
        self._values = values
        self._fill = {"Static": _as_it_is, "Handlebars": _plain}.get(dialect, _jinja)

    def __call__(self, text: str) -> str:
        """Put the substitutions in. An unknown name is empty."""
        return self._fill(text, self._values, in_header=False)

    def line(self, text: str) -> str:
        """The same in a header, where a substitution must not begin a field of its own."""
        return self._fill(text, self._values, in_header=True)


def _as_it_is(text: str, values: Mapping[str, Any], *, in_header: bool) -> str:
    del values, in_header
    return text


def _plain(text: str, values: Mapping[str, Any], *, in_header: bool) -> str:
    if _TOO_CLEVER.search(_VARIABLE.sub("", text)):
        raise ValueError(
            "of Handlebars only {{ name }} is known: use template_dialect Jinja, or Static for text as it is"
        )

    def value(found: re.Match[str]) -> str:
        said = str(values.get(found[1], ""))
        return _LINE_BREAK.sub(" ", said) if in_header else said

    return _VARIABLE.sub(value, text)


def _jinja(text: str, values: Mapping[str, Any], *, in_header: bool) -> str:
    if "{" not in text:
        return text
    try:
        return _template(text, in_header).render(values)
    except (TemplateError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
        raise ValueError(f"the template cannot be filled: {error}") from error


@lru_cache(maxsize=256)
def _template(text: str, in_header: bool) -> Template:  # noqa: FBT001 - a part of the cache's key
    return (_HEADER_TEMPLATES if in_header else _TEMPLATES).from_string(text)


def _on_one_line(value: Any) -> Any:
    return _LINE_BREAK.sub(" ", value) if isinstance(value, str) else value


_TEMPLATES = ImmutableSandboxedEnvironment(keep_trailing_newline=True)
_HEADER_TEMPLATES = ImmutableSandboxedEnvironment(keep_trailing_newline=True, finalize=_on_one_line)


def _built(content: Content, recipient: Recipient, fill: _Filler) -> bytes:
    mail = EmailMessage(policy=policy.SMTP)
    if content.from_:
        mail["From"] = formataddr((fill.line(content.from_.name), content.from_.email))
    mail["To"] = formataddr((recipient.name or "", recipient.email))
    if content.reply_to:
        mail["Reply-To"] = formataddr((fill.line(content.reply_to.name), content.reply_to.email))
    if content.subject is not None:
        mail["Subject"] = fill.line(content.subject)
    for name, value in content.headers.items():
        mail[name] = fill.line(value)
    if "Date" not in mail:
        mail["Date"] = formatdate()
    if "Message-ID" not in mail:
        mail["Message-ID"] = make_msgid(
            domain=(content.from_.email.rpartition("@")[2] if content.from_ else "") or None
        )
    _add_bodies(mail, content, fill)
    for attachment in content.attachments:
        _attach(mail, attachment)
    return mail.as_bytes()


def _add_bodies(mail: EmailMessage, content: Content, fill: _Filler) -> None:
    """The plainest first: readers show the last one that they understand (RFC 2046 section 5.1.4)."""
    bodies = (content.text_body, "plain"), (content.amp_html_body, "x-amp-html"), (content.html_body, "html")
    there = [(text, kind) for text, kind in bodies if text is not None] or [("", "plain")]
    (text, kind), *others = there
    mail.set_content(fill(text), subtype=kind)
    for text, kind in others:
        mail.add_alternative(fill(text), subtype=kind)


def _attach(mail: EmailMessage, attachment: Attachment) -> None:
    try:
        data = b64decode(attachment.data, validate=True) if attachment.base64 else attachment.data.encode()
    except binascii.Error as error:
        raise ValueError(f"attachment {attachment.file_name or ''} is no base64") from error
    kind, slash, subtype = attachment.content_type.partition(";")[0].strip().partition("/")
    if not slash:
        raise ValueError(f"{attachment.content_type!r} is no content type")
    cid = f"<{attachment.content_id}>" if attachment.content_id else None
    mail.add_attachment(data, maintype=kind, subtype=subtype, cid=cid, filename=attachment.file_name)
