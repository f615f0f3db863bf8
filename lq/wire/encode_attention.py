"""What needs a person -> JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec import Struct

from lq.attention import Concern, ConcernKind, Level
from lq.wire.parts import InstantText, instant, one_of, to_json


class _Concern(Struct, kw_only=True, omit_defaults=True):
    """Something that needs a person. Shape: `schedule` is an id; others are there where it is about
    that.
    """

    kind: Annotated[str, one_of(*ConcernKind)]
    level: Annotated[str, one_of(*Level)]
    text: str
    since: InstantText | None = None
    queue: str | None = None
    schedule: str | None = None
    url: str | None = None
    fingerprint: str | None = None
    number: int | None = None


ANSWERS: Final[Mapping[str, Any]] = {"Attention": list[_Concern]}
"""As `encode.ANSWERS`."""


def encode_attention(concerns: Sequence[Concern]) -> bytes:
    """A plain array of concerns, the worst first."""
    return to_json([_concern(one) for one in concerns])


def _concern(one: Concern) -> _Concern:
    return _Concern(
        kind=one.kind,
        level=one.level,
        text=one.text,
        since=instant(one.since_at),
        queue=one.queue,
        schedule=one.schedule,
        url=one.url,
        fingerprint=one.fingerprint,
        number=one.number,
    )
