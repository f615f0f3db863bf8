"""Whether a request comes from lq: which is asked of every call before its body is looked at.

Invariant: exactly one signature over the raw bytes, made within two minutes of now. A HEAD
answer is a signature over the empty body that anybody may ask for, so a call without a body must
bear a second one, which lq makes for calls alone (Standard Webhooks, over the job's id too).
"""

from __future__ import annotations

from collections.abc import Sequence

from lq.sdk.http import Request
from lq.signature import SignatureError, Webhook, verify, verify_webhook


def check(request: Request, secrets: Sequence[str], now: int) -> None:
    """Raises: SignatureError saying which check failed."""
    signatures = request.all("x-lq-signature")
    if len(signatures) > 1:
        raise SignatureError("repeated")
    verify(signatures[0] if signatures else None, request.body, secrets, now)
    if not request.body:
        webhook = Webhook(*(request.one(f"webhook-{part}") for part in Webhook._fields))
        verify_webhook(webhook, request.body, secrets, now)
        if request.all("x-lq-id") not in ([], [webhook.id]):
            raise SignatureError("webhook mismatch")
