"""What failures have in common: the text of an error without what differs from job to job.

Owns the normal form of an error text, and the fingerprint of a failure: its target, its status,
and that form. Pure. Never decides what a failure is.

Invariant: two failures of one target that differ in numbers, ids, addresses or quoted parts alone
have one fingerprint. It is stored with jobs: whoever changes it has to compute those anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final

_MOST: Final = 1000
_PATTERNS: Final = (
    # What was given, in quotes; an apostrophe within a word quotes nothing.
    (re.compile(r'"[^"]*"|`[^`]*`|(?<!\w)\'[^\']*\'(?!\w)|“[^”]*”|«[^»]*»'), '"…"'),
    # IPv6, which need not hold a digit.
    (re.compile(r"(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])"), "#"),
    # Hexadecimal without a digit is a word, unless no word looks like it.
    (re.compile(r"\b[a-f]{8,}\b|\b[A-F]{8,}\b"), "#"),
    # Whatever holds a digit: numbers, ids, times, IPv4, ports, versions.
    (re.compile(r"(?<!\w)[+-]?(?=\w*\d)\w+(?:[\w.:+-]*\w)?"), "#"),
    (re.compile(r"#(?:[ ,;/_-]*#)+"), "#"),
    (re.compile(r"\s+"), " "),
)


def normal_form(error: str) -> str:
    """An error text with `#` for numbers, ids and addresses, and `"…"` for what was quoted."""
    text = error[:_MOST]
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text.strip()


def fingerprint(target: str, status: int | None, error: str | None) -> str:
    """The name of a kind of failure. Shape: 16 hexadecimal digits."""
    kind = json.dumps([target, status, normal_form(error or "")])
    return hashlib.sha256(kind.encode()).hexdigest()[:16]
