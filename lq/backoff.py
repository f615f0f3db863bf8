"""How long to wait before trying again.

Owns: the curve, the list of waits, and their notation ("8", "10s,1m,1h"). Never rolls the
dice: chance is the caller's, so that bounds, mean and spread can be tested.

Invariant: a list of waits is followed to the millisecond; jitter belongs to the curve, is
applied after the cap, and leaves the mean where it is.
"""

from __future__ import annotations

import re
import sys
from typing import Final

from msgspec import Struct

from lq.model import RetryPolicy
from lq.when import format_duration, parse_duration

MAX_RETRIES: Final = 100

_FORMS: Final = f'a number of retries (0 to {MAX_RETRIES}) or the waits between them ("10s,1m,1h")'


class Curve(Struct, frozen=True):
    """Waits that grow: `base_ms * factor ** (failures - 1)`, but at most `cap_ms`.

    Shape: `jitter` is the share of a wait that chance may add or take away, 0 to 1.
    """

    base_ms: int
    factor: float
    cap_ms: int
    jitter: float


def delay_ms(failures: int, policy: RetryPolicy, curve: Curve, chance: float) -> int | None:
    """The wait after the `failures`-th failure (from 1), or None when no retry is left.

    Shape: `chance` is uniform in [0, 1).
    """
    if failures > policy.retries:
        return None
    if policy.waits_ms:
        return policy.waits_ms[failures - 1]
    try:
        growth = float(curve.factor) ** (failures - 1)
    except OverflowError:
        growth = sys.float_info.max
    wait_ms = min(curve.base_ms * growth, curve.cap_ms)
    return round(wait_ms * (1 + curve.jitter * (2 * chance - 1)))


def parse_retry(text: str) -> RetryPolicy:
    """Read "8" (that many retries on the curve) or "10s,1m,1h" (exactly these waits).

    Raises: ValueError saying what is accepted.
    """
    stripped = text.strip()
    waits = [] if re.fullmatch("[0-9]{1,9}", stripped) else stripped.split(",")
    retries = len(waits) or int(stripped)
    if retries > MAX_RETRIES:
        raise ValueError(f"at most {MAX_RETRIES} retries are possible, got {retries}")
    try:
        return RetryPolicy(retries, tuple(map(parse_duration, waits)))
    except ValueError as error:
        raise ValueError(f"expected {_FORMS}; {error}") from None


def format_retry(policy: RetryPolicy) -> str:
    """A policy as `parse_retry` reads it back."""
    if policy.waits_ms:
        return ",".join(map(format_duration, policy.waits_ms))
    return str(policy.retries)
