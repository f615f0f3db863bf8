"""What a form has shown: whoever saves it later must not put back what others changed meanwhile.

Pure: a form carries a mark of the values that it was opened with, in its field `seen`.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from msgspec.json import encode

from lq.errors import Conflict


def mark_of(values: Mapping[str, str]) -> str:
    """What tells these values from any others."""
    return blake2b(encode(values, order="sorted"), digest_size=12).hexdigest()


def check(form: Mapping[str, str], values: Mapping[str, str], what: str) -> None:
    """Refuse a form that has shown other values than there are by now. Raises: Conflict."""
    if form.get("seen") != mark_of(values):
        raise Conflict(
            f"somebody has changed {what} since this form was opened",
            hint="nothing was saved; look at what it is now, and save again to have it as here",
        )
