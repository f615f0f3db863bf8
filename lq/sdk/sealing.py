"""End-to-end encryption: payloads and results that the daemon keeps without being able to read.

Owns: the keys, and the format that docs/handlers.md describes to the byte. Imports `cryptography`
when it is first needed.

Invariant: a nonce never serves two different plaintexts under one key. It is random; but for what
has a key, or an idempotency key, it is derived from that and the plaintext, so that the same item
pushed again is the same bytes, and lq changes nothing. All that this shows is that two pushes of
one key are the same.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from collections.abc import Sequence
from typing import Any, Final

from lq.errors import LqError
from lq.sdk.codec import Encoded, PayloadError
from lq.sdk.settings import SettingMissing, several

MEDIA_TYPE: Final = "application/vnd.lq.encrypted"
VARIABLE: Final = "LQ_ENCRYPTION_KEY"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_KEY_ID_CONTEXT: Final = b"lq-e2e-kid-v1"
_NONCE_CONTEXT: Final = b"lq-e2e-nonce-v1"
_CONTENT_TYPE: Final = re.compile(
    rf'{re.escape(MEDIA_TYPE)} *; *v=1 *; *kid=([0-9a-f]{{16}}) *; *type="((?:[^"\\]|\\.)*)"',
    re.IGNORECASE,
)


def is_sealed(content_type: str | None) -> bool:
    """Whether a content type says that the body is encrypted."""
    kind = (content_type or "").partition(";")[0]
    return kind.strip().lower() == MEDIA_TYPE


class Sealer:
    """Encrypts under the first of its keys, and decrypts under any of them."""

    def __init__(self, queue: str, given: str | Sequence[str] | None) -> None:
        """Raises: SettingMissing without a key, LqError for one that is none."""
        keys = several(given, VARIABLE)
        if not keys:
            raise SettingMissing("there is no key to encrypt with", VARIABLE, "encryption_key=")
        self._queue = queue
        self._keys = {key_id(key): key for key in map(read_key, keys)}

    def seal(self, plain: Encoded, purpose: str, identity: str | None = None) -> Encoded:
        """Encrypt, under the same `identity` the same into the same bytes.

        Shape: `purpose` is "payload" or "result"; `identity` is its key or idempotency key, if any.
        """
        kid, key = next(iter(self._keys.items()))
        kind = plain.content_type or ""
        context = _context(purpose, self._queue, kid, kind)
        if identity is None:
            nonce = os.urandom(_NONCE_BYTES)
        else:
            parts = b"\n".join((context, identity.encode(), plain.body))
            nonce = _hmac(_hmac(key, _NONCE_CONTEXT), parts)[:_NONCE_BYTES]
        sealed = nonce + _aead(key).encrypt(nonce, plain.body, context)
        quoted = re.sub(r'(["\\])', r"\\\1", kind)
        return Encoded(sealed, f'{MEDIA_TYPE}; v=1; kid={kid}; type="{quoted}"')

    def unseal(self, sealed: Encoded, purpose: str) -> Encoded:
        """Decrypt. Raises: PayloadError when it was not made with one of the keys, or for here."""
        found = _CONTENT_TYPE.fullmatch((sealed.content_type or "").strip())
        if found is None:
            raise PayloadError(purpose, f"is encrypted in a way that is not known ({MEDIA_TYPE})")
        kid, kind = found[1].lower(), re.sub(r"\\(.)", r"\1", found[2])
        key = self._keys.get(kid)
        if key is None:
            raise PayloadError(purpose, f"is encrypted under the key {kid}, unknown in this app")
        nonce, rest = sealed.body[:_NONCE_BYTES], sealed.body[_NONCE_BYTES:]
        if len(rest) < _TAG_BYTES:
            raise PayloadError(purpose, "is too short to be encrypted")
        from cryptography.exceptions import InvalidTag

        try:
            body = _aead(key).decrypt(nonce, rest, _context(purpose, self._queue, kid, kind))
        except InvalidTag:
            raise PayloadError(
                purpose, f"was changed, or encrypted for another queue than {self._queue}"
            ) from None
        return Encoded(body, kind or None)


def read_key(text: str) -> bytes:
    """A key in hex or base64. Raises: LqError, which does not show it."""
    if re.fullmatch("[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    standard = text.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise LqError(
            f"{VARIABLE} is not a key: expected 32 bytes, written as 64 hex digits or as base64",
            hint="Make one with `openssl rand -hex 32`.",
        )
    return key


def key_id(key: bytes) -> str:
    """What a key is called in content types: 16 hex digits that do not betray it."""
    return _hmac(key, _KEY_ID_CONTEXT)[:8].hex()


def _context(purpose: str, queue: str, kid: str, kind: str) -> bytes:
    """What a ciphertext is bound to: it decrypts in no other place."""
    return "\n".join(("lq-e2e-v1", purpose, queue, kid, kind)).encode()


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _aead(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise LqError(
            "encryption needs the package cryptography",
            hint='Install it with `pip install "lq-daemon[encryption]"`.',
        ) from None
    return AESGCM(key)
