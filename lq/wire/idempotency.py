"""The header Idempotency-Key: what it may hold, and which requests are the same.

Source: draft-ietf-httpapi-idempotency-key-header-07; its value is a String of RFC 9651, but the
bare words that most clients send are taken, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from lq.errors import ValidationError
from lq.wire.reading import RawHeaders

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
MAX_IDEMPOTENCY_KEY: Final = 255

BARE: Final = r"[!#-+\--:<-\[\]-~]"  # what is visible ASCII, without quotes, commas, semicolons, \
QUOTED: Final = r'(?:[ !#-\[\]-~]|\\["\\])'
_FORM: Final = re.compile(rf'(?P<bare>{BARE}+)|"(?P<quoted>{QUOTED}+)"')
_ESCAPED: Final = re.compile(r'\\(["\\])')


def read_idempotency_key(values: Sequence[str]) -> str:
    """The key that the headers of this name hold, without its quotes. Raises: ValidationError."""
    if len(values) > 1:
        raise ValidationError.of(IDEMPOTENCY_KEY, "is there more than once", "repeated")
    found = _FORM.fullmatch(values[0])
    key = found and (found["bare"] or _ESCAPED.sub(r"\1", found["quoted"]))
    if not key or len(key) > MAX_IDEMPOTENCY_KEY:
        raise ValidationError.of(
            IDEMPOTENCY_KEY,
            f'expected 1 to {MAX_IDEMPOTENCY_KEY} characters of ASCII such as "8e03978e-40d5",'
            " quoted where there are spaces, commas, semicolons or backslashes",
        )
    return key


def digest_request(path: Sequence[str], headers: RawHeaders, body: bytes) -> bytes:
    """The SHA-256 of all that decides what a request does.

    Shape: `path` is what it is and what it names. Headers count that are lq's, and the type of the
    body, in any order; a trace context is another one at each try.
    """
    counting = sorted(
        (name, value)
        for raw_name, value in headers
        if (name := raw_name.lower()).startswith(b"x-lq-") or name == b"content-type"
    )
    pieces = [*(part.encode() for part in path), b""]
    for pair in counting:
        pieces += pair
    digest = sha256()
    for piece in (*pieces, b"", body):
        digest.update(b"%d:" % len(piece))
        digest.update(piece)
    return digest.digest()
