"""What one check of the doctor found."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """What one check found.

    Shape: `cure` is there exactly when not all is well; that is wrong, unless it is a `warning`.
    """

    check: str
    text: str
    cure: str | None = None
    warning: bool = False

    @property
    def level(self) -> str:
        if self.cure is None:
            return "ok"
        return "warning" if self.warning else "wrong"
