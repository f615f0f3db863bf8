"""Shell patterns of names: of the queues that a token reaches, of what a listener wants. Pure.

Invariant: no patterns mean all names.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def meant(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns means a name."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
