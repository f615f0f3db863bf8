"""Signatures of calls: LambdaQueue v1 and Standard Webhooks.

Owns: secrets, both header formats, and their strict verification. Pure: the time and the
randomness are the caller's. Never logs or shows a secret.

Invariant: digests are compared in constant time, and only the exact format is accepted.
v1 has no delimiter between body and time, which is one more reason for the 13 digits.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_HEADER: Final = re.compile(r"v=1,t=([^,]*),s=([0-9a-f]{64})")
_VERSION: Final = re.compile(r"v=([0-9]+)(,.*)?", re.DOTALL)
_TIMESTAMP: Final = re.compile(r"[1-9][0-9]{12}")
_SECONDS: Final = re.compile(r"[1-9][0-9]{9}")
_WEBHOOK_CONTEXT: Final = b"lq/standard-webhooks/v1"

_REASONS: Final = {
    "missing": "there is no x-lq-signature",
    "malformed": "x-lq-signature is not of the form v=1,t=<13 digits>,s=<64 lowercase hex>",
    "version": "x-lq-signature is not of version 1",
    "timestamp": "the time in x-lq-signature is not 13 digits of Unix milliseconds",
    "stale": "the time in x-lq-signature is too far from now; is a clock wrong?",
    "mismatch": "x-lq-signature was made with another secret, or for another body",
    "repeated": "there is more than one x-lq-signature",
    "no webhook": "the body is empty, and there is no webhook-signature that a HEAD never has",
    "webhook mismatch": "the body is empty, and webhook-signature does not hold for it",
}


class SignatureError(ValueError):
    """A signature that does not hold. `reason` is one stable word, a key of `_REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(_REASONS[reason])
        self.reason = reason


class Webhook(NamedTuple):
    """The three headers of Standard Webhooks as they came; None for one that did not."""

    id: str | None
    timestamp: str | None
    signature: str | None


def new_secret(random: bytes) -> str:
    """Write 32 random bytes as a signing secret."""
    if len(random) != 32:
        raise ValueError(f"a secret is made of 32 random bytes, got {len(random)}")
    return f"lqs_{random.hex()}"


def sign(secret: str, body: bytes, at: int) -> str:
    """The `x-lq-signature` of a body sent at an instant."""
    return f"v=1,t={at},s={_hmac(secret.encode(), body, str(at).encode()).hex()}"


def verify(
    header: str | None,
    body: bytes,
    secrets: Sequence[str],
    now: int,
    tolerance_ms: int = 120_000,
) -> str:
    """The secret that a v1 signature was made with. Raises: SignatureError."""
    if not header:
        raise SignatureError("missing")
    match = _HEADER.fullmatch(header)
    if match is None:
        version = _VERSION.fullmatch(header)
        raise SignatureError("version" if version and version[1] != "1" else "malformed")
    if not _TIMESTAMP.fullmatch(match[1]):
        raise SignatureError("timestamp")
    if abs(now - int(match[1])) > tolerance_ms:
        raise SignatureError("stale")
    presented = bytes.fromhex(match[2])
    for secret in secrets:
        if hmac.compare_digest(_hmac(secret.encode(), body, match[1].encode()), presented):
            return secret
    raise SignatureError("mismatch")


def webhook_key(secret: str) -> bytes:
    """The Standard Webhooks key of a secret: derived, so that no signature serves both schemes."""
    return _hmac(secret.encode(), _WEBHOOK_CONTEXT)


def webhook_secret(secret: str) -> str:
    """The `whsec_…` to hand to a Standard Webhooks library."""
    return f"whsec_{base64.b64encode(webhook_key(secret)).decode()}"


def sign_webhook(key: bytes, webhook_id: str, at_s: int, body: bytes) -> str:
    """The `webhook-signature` of a body under one key.

    Units: `at_s` is in seconds, as the standard has it. Source: standardwebhooks.com, 1.0.0.
    """
    digest = _hmac(key, f"{webhook_id}.{at_s}.".encode(), body)
    return f"v1,{base64.b64encode(digest).decode()}"


def verify_webhook(
    webhook: Webhook, body: bytes, secrets: Sequence[str], now: int, tolerance_ms: int = 120_000
) -> None:
    """Hold the headers of Standard Webhooks against a body. Raises: SignatureError.

    Shape: `secrets` are those of lq, the keys are derived.
    """
    if not webhook.id or not webhook.timestamp or not webhook.signature:
        raise SignatureError("no webhook")
    if not (_SECONDS.fullmatch(webhook.timestamp) and f"{webhook.id}{webhook.signature}".isascii()):
        raise SignatureError("webhook mismatch")
    at_s = int(webhook.timestamp)
    if abs(now - at_s * 1000) > tolerance_ms:
        raise SignatureError("stale")
    presented = [text.encode() for text in webhook.signature.split(" ")]
    for secret in secrets:
        expected = sign_webhook(webhook_key(secret), webhook.id, at_s, body).encode()
        if any(hmac.compare_digest(expected, one) for one in presented):
            return
    raise SignatureError("webhook mismatch")


def _hmac(key: bytes, *parts: bytes) -> bytes:
    # One call, although it copies the body: for a small one, which is nearly every one, it
    # takes a third of the time of hmac.new, and for 1 MiB 4 % more.
    return hmac.digest(key, b"".join(parts), "sha256")
