"""The pages that there are, and who answers each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from lq.daemon.api.call import Reply
from lq.daemon.panel.visit import Visit

Handler = Callable[[Visit], Awaitable[Reply]]


class Page(NamedTuple):
    """One method of one pattern.

    Shape: the pattern's groups become the parts of the visit. `payload` says that its form may have
    one, when it comes from somebody who may push.
    """

    method: str
    pattern: str
    handler: Handler
    payload: bool = False
