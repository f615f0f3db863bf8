"""The keys about what is kept secret: `[secrets]`, and what a queue does not show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from lq.config.doors import FILE
from lq.config.kinds import Kind, texts, words_of
from lq.wire import check_redaction


class Secrets(Struct, frozen=True, kw_only=True):
    """Where the key is that encrypts the signing secrets on disk: in a file, or a credential.

    Shape: `credential` is the name that systemd hands one over under. Neither is no encryption.
    """

    key_file: Path | None = None
    credential: str | None = None


def _credential(value: Any) -> str | None:
    """A credential's name, which is a file's; "" is none."""
    if not isinstance(value, str) or not value.isprintable() or "/" in value:
        raise ValueError
    if value in {".", ".."}:
        raise ValueError
    return value or None


def _redactions(value: Any) -> tuple[str, ...]:
    return tuple(check_redaction(word) for word in texts(value))


SECRETS: Final[Mapping[str, Kind]] = {
    "key_file": FILE,
    "credential": Kind('the name of a systemd credential, or "" for none', _credential),
}
REDACT: Final = Kind(
    'a list such as ["body", "header:x-customer", "response"]', _redactions, words_of
)
