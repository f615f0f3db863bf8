"""Handlers that cannot end the process they run in: sys.exit() is a failure like any other."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any


def contained(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, but one that calls sys.exit() fails its job and not its app."""

    @wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            result = function(*arguments)
        except SystemExit as error:
            raise HandlerExit(error) from error
        return _awaited(result) if inspect.isawaitable(result) else result

    async def _awaited(result: Any) -> Any:
        try:
            return await result
        except SystemExit as error:
            raise HandlerExit(error) from error

    return call


class HandlerExit(Exception):
    """A handler called sys.exit()."""

    def __init__(self, error: SystemExit) -> None:
        super().__init__(f"the handler called sys.exit({error.code!r})")
