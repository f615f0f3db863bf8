"""Delivers the message of an alert in the form its receiver expects: over HTTP, by mail, or to a
scriptlet.

Owns the forms. The address of a receiver, which often is a credential, is looked up in lq.toml at
each call: neither the database nor the API ever holds it.
"""

from __future__ import annotations

import asyncio
import email.utils
import smtplib
import ssl
from collections.abc import Callable, Mapping
from email.header import Header
from email.message import EmailMessage
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lq.alerts import TARGET, Preset, Rule
from lq.config import Mail
from lq.model import Outcome, OutcomeKind, Run

_DISCORD_CHARACTERS: Final = 2_000
_NTFY_BYTES: Final = 4_000
_MAIL: Final = "mailto:"
_SMTP_TIMEOUT_S: Final = 30.0
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Message(Struct):
    """The payload of an alert's job, as far as it is shown to people; see `lq.alerts.message`."""

    title: str
    text: str
    events: list[dict[str, object]]


class Form(Struct, frozen=True):
    """What is sent over HTTP."""

    body: bytes
    content_type: str
    headers: Mapping[str, str]


class Target(Protocol):
    """Whatever calls URLs and scriptlets."""

    async def deliver(self, run: Run) -> Outcome: ...


class AlertTarget:
    """The way to the receivers of alerts; all other runs pass through."""

    def __init__(self, way: Target, rule: Callable[[str], Rule | None], mail: Mail, host: str):
        """Shape: `rule` finds one by its name; `host` is how this machine is called in mail."""
        self._way = way
        self._rule = rule
        self._mail = mail
        self._host = host

    async def deliver(self, run: Run) -> Outcome:
        """Send the message of a run, if it is one."""
        name = run.job.target.removeprefix(TARGET)
        if name == run.job.target:
            return await self._way.deliver(run)
        rule = self._rule(name)
        if rule is None:
            error = f"alert_gone: lq.toml has no alert {name} any more"
            return Outcome(kind=OutcomeKind.REJECTED, error=error)
        payload = run.job.payload or b""
        if rule.target.startswith(_MAIL):
            message = msgspec.json.decode(payload, type=Message)
            return await asyncio.to_thread(self._send_mail, rule, message, run)
        job = replace(run.job, target=rule.target)
        if rule.target.startswith(("http:", "https:")):
            form = form_of(rule.preset, payload)
            job = replace(
                job,
                payload=form.body,
                content_type=form.content_type,
                headers={**form.headers, **rule.headers},
            )
        return await self._way.deliver(Run(run.id, job, run.started_at))

    def _send_mail(self, rule: Rule, message: Message, run: Run) -> Outcome:
        mail = EmailMessage()
        mail["From"] = self._mail.sender or f"lq@{self._host}"
        mail["To"] = rule.target.removeprefix(_MAIL).replace(",", ", ")
        mail["Subject"] = " ".join(message.title.split())
        mail["Date"] = email.utils.formatdate()
        # The same at each attempt: a server that took the first one can tell.
        mail["Message-ID"] = f"<{run.job.id}@{self._host}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        timeout_s = min(run.job.timeout_ms / 1000, _SMTP_TIMEOUT_S)
        try:
            refused = self._hand_over(mail, timeout_s)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return Outcome(
                kind=OutcomeKind.FAILED, error=f"smtp: {_said(error)} ({self._mail.smtp})"
            )
        if refused:
            return Outcome(kind=OutcomeKind.FAILED, error=f"smtp: refused for {', '.join(refused)}")
        return Outcome(kind=OutcomeKind.SUCCEEDED)

    def _hand_over(self, mail: EmailMessage, timeout_s: float) -> Mapping[str, object]:
        """Give a mail to the server; the addresses it did not take."""
        parts = urlsplit(self._mail.smtp)
        host, tls = parts.hostname or "", self._tls()
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, parts.port or 465, timeout=timeout_s, context=tls
            )
        else:
            server = smtplib.SMTP(host, parts.port or 25, timeout=timeout_s)
        with server:
            server.ehlo_or_helo_if_needed()
            user = self._mail.user
            # The mail server of this machine often offers a certificate that nobody vouches for.
            offered = server.has_extn("starttls") and host not in _THIS_MACHINE
            if parts.scheme == "smtp" and (user or offered):
                server.starttls(context=tls)
            if user:
                server.login(user, self._password())
            return server.send_message(mail)

    def _tls(self) -> ssl.SSLContext:
        file = self._mail.ca_file
        return ssl.create_default_context(cafile=None if file is None else str(file))

    def _password(self) -> str:
        file = self._mail.password_file
        return "" if file is None else file.read_text(encoding="utf-8").strip()


def _said(error: Exception) -> str:
    """What went wrong, on one line; of an answer what the server said."""
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        return f"{error.smtp_code} {' '.join(said.split())[:200]}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"refused for {', '.join(error.recipients)}"
    text = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    text = " ".join(text.split())[:200]
    return text[:1].lower() + text[1:]


def form_of(preset: Preset, payload: bytes) -> Form:
    """A message as a receiver over HTTP expects it."""
    if preset is Preset.JSON:
        return Form(payload, "application/json", {})
    message = msgspec.json.decode(payload, type=Message)
    if preset is Preset.NTFY:
        return _ntfy(message)
    if preset is Preset.SLACK:
        text = f"*{_slack(message.title)}*\n{_slack(message.text)}"
        return _json({"text": text})
    text = f"**{message.title}**\n{message.text}"
    if len(text) > _DISCORD_CHARACTERS:
        text = f"{text[: _DISCORD_CHARACTERS - 1]}…"
    # What a handler said must not call everybody.
    return _json({"content": text, "allowed_mentions": {"parse": []}})


def _json(value: object) -> Form:
    return Form(msgspec.json.encode(value), "application/json", {})


def _slack(text: str) -> str:
    """Source: api.slack.com, "Escaping text"."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _ntfy(message: Message) -> Form:
    """Source: docs.ntfy.sh, "Publishing"."""
    body = message.text.encode()
    if len(body) > _NTFY_BYTES:
        body = f"{body[: _NTFY_BYTES - 3].decode(errors='ignore')}…".encode()
    bad = any(event.get("kind") != "recovered" for event in message.events)
    title = message.title
    headers = {
        "Title": title if title.isascii() else Header(title, "utf-8", maxlinelen=10_000).encode(),
        "Priority": "high" if bad else "default",
        "Tags": "warning" if bad else "white_check_mark",
    }
    return Form(body, "text/plain; charset=utf-8", headers)
