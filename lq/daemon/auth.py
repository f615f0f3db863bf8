"""API tokens: making, recognising and judging them.

Owns: the form of a token, the keyring of live ones in memory, and which scope reaches what.
Pure: randomness and time are the caller's, storing is `store`'s.

Invariant: a token itself is never kept, only its SHA-256; every refusal reads the same.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from collections.abc import Iterable
from typing import Final

from lq.errors import Unauthorized
from lq.model import Principal, Scope, Token
from lq.patterns import meant

# No punctuation but the underscore: a double click selects the whole token.
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BYTES: Final = 32
_RANDOM_DIGITS: Final = 43
_CHECKSUM_DIGITS: Final = 6
_FORM: Final = re.compile(
    rf"lq_([0-9A-Za-z]{{{_RANDOM_DIGITS}}})([0-9A-Za-z]{{{_CHECKSUM_DIGITS}}})"
)
_NO_DIGEST: Final = bytes(32)


def new_token(random: bytes) -> str:
    """Write 32 random bytes as a token, with a checksum that tells it from a mistyped one."""
    if len(random) != _RANDOM_BYTES:
        raise ValueError(f"a token is made of {_RANDOM_BYTES} random bytes, got {len(random)}")
    digits = _base62(int.from_bytes(random, "big"), _RANDOM_DIGITS)
    return f"lq_{digits}{_checksum(digits)}"


def well_formed(token: str) -> bool:
    """Whether this can be a token at all: prefix, length, alphabet and checksum."""
    match = _FORM.fullmatch(token)
    return match is not None and _checksum(match[1]) == match[2]


def digest(token: str) -> bytes:
    """What is stored of a token: its SHA-256."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


class Keyring:
    """The live tokens, looked up by digest."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._by_digest: dict[bytes, Token] = {}
        for token in tokens:
            self.add(token)

    def add(self, token: Token) -> None:
        """Let a token in from now on, unless it is revoked."""
        if token.revoked_at is None:
            self._by_digest[token.digest] = token

    def revoke(self, name: str) -> None:
        """Refuse the token of this name from now on."""
        for token in list(self._by_digest.values()):
            if token.name == name:
                del self._by_digest[token.digest]

    def holds(self, digest: bytes, now: int) -> bool:
        """Whether the token with this digest is live still."""
        found = self._by_digest.get(digest)
        return found is not None and not _expired(found, now)

    def authenticate(self, token: str, now: int) -> Token:
        """The live token that was presented; an absent one is presented as "".

        Raises: Unauthorized, in the same words and the same time for every cause.
        """
        presented = digest(token)
        found = self._by_digest.get(presented)
        genuine = hmac.compare_digest(found.digest if found else _NO_DIGEST, presented)
        if found is None or not genuine or _expired(found, now):
            raise Unauthorized(
                "this needs a valid token, sent as 'Authorization: Bearer TOKEN'",
                hint="make one with `lq tokens create NAME --scope push` where the daemon runs",
            )
        return found


def allows(principal: Principal, scope: Scope, queue: str | None) -> bool:
    """Whether a principal may do what `scope` covers, in `queue` if the request names one.

    Shape: to read or cancel by key is covered by push as well as by read; callers ask for either.
    """
    if scope not in principal.scopes and Scope.ADMIN not in principal.scopes:
        return False
    if queue is None and principal.queues:
        # A listing shows the queues that match and no others; but what belongs to no queue
        # (tokens, above all) is out of reach, or a limited token could make an unlimited one.
        return scope is not Scope.ADMIN
    return queue is None or meant(queue, principal.queues)


def _expired(token: Token, now: int) -> bool:
    return token.expires_at is not None and token.expires_at <= now


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits


def _checksum(digits: str) -> str:
    return _base62(zlib.crc32(digits.encode()), _CHECKSUM_DIGITS)
