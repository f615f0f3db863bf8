"""What a handler function takes, and calling it: with a job or its payload, async or not.

It imports asyncio on first use, and so do its neighbours: an app that is not async starts in half
the time without.

Invariant: a function that is not async never runs on the event loop's thread, unless its own
caller is synchronous.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import FrameType
from typing import Any, ForwardRef, NamedTuple, TypeVar, get_args, get_origin

from lq.sdk.job import Job

_JOB = re.compile(r"(?:\w+\.)*Job(?:\[(?P<payload>.*)\])?", re.DOTALL)
UNKNOWN: Any = object()
"""The payload type of a function that does not say what it takes."""


class Handler(NamedTuple):
    """A function and how to call it.

    Shape: `takes` is "job", "payload" or "nothing"; `payload_type` is what it says to expect, as
    text when only a type checker knows it.
    """

    function: Callable[..., Any]
    takes: str
    payload_type: Any
    is_async: bool

    def arguments(self, job: Job[Any]) -> tuple[object, ...]:
        """What to call it with."""
        return {"job": (job,), "payload": (job.payload,), "nothing": ()}[self.takes]

    async def call(self, job: Job[Any]) -> object:
        """Its result, on the event loop or from a thread beside it."""
        arguments = self.arguments(job)
        if self.is_async:
            return await self.function(*arguments)
        from lq.sdk.beside import in_thread

        result = await in_thread(self._called, arguments)
        return await result if inspect.isawaitable(result) else result

    def call_sync(self, job: Job[Any]) -> object:
        """Its result, waited for here."""
        if self.is_async:
            return run(self.call(job))
        result = self._called(self.arguments(job))
        return run(_awaited(result)) if inspect.isawaitable(result) else result

    def _called(self, arguments: tuple[object, ...]) -> Any:
        try:
            return self.function(*arguments)
        except StopIteration as error:
            # As in a coroutine: no future can carry one, and who waits would wait for ever.
            raise RuntimeError("the handler raised StopIteration") from error


async def _awaited(result: Any) -> object:
    return await result


def read_handler(function: Callable[..., Any], frame: FrameType) -> Handler:
    """Look at a function's signature.

    Shape: its one argument is the job when it is annotated so, or is called `job` without an
    annotation; else the payload. `frame` is where it was registered: a type may be local to that.
    Raises: TypeError when it cannot be called with one argument.
    """
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ] or [*inspect.signature(function).parameters.values()][:1]
    called = function if inspect.isroutine(function) else type(function).__call__
    is_async = inspect.iscoroutinefunction(inspect.unwrap(called))
    if not parameters:
        return Handler(function, "nothing", UNKNOWN, is_async)
    first, *more = parameters
    if more or first.kind is first.KEYWORD_ONLY:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(f"{name} must take one argument, the job or its payload")
    if first.annotation is first.empty:
        return Handler(function, "job" if first.name == "job" else "payload", UNKNOWN, is_async)
    annotation = _evaluated(first.annotation, function, frame)
    if isinstance(annotation, str) and (found := _JOB.fullmatch(annotation.strip())):
        inner = found["payload"]
        payload = UNKNOWN if inner is None else _told(_evaluated(inner, function, frame))
        return Handler(function, "job", payload, is_async)
    if annotation is Job:
        return Handler(function, "job", UNKNOWN, is_async)
    if get_origin(annotation) is Job:
        payload = get_args(annotation)[0]
        if isinstance(payload, ForwardRef):
            payload = _evaluated(payload.__forward_arg__, function, frame)
        return Handler(function, "job", _told(payload), is_async)
    return Handler(function, "payload", _told(annotation), is_async)


def _told(annotation: Any) -> Any:
    """The type that an annotation tells of, if it does."""
    is_open = isinstance(annotation, TypeVar) or annotation is Any
    return UNKNOWN if is_open else annotation


def _evaluated(annotation: Any, function: Callable[..., Any], frame: FrameType) -> Any:
    """An annotation that is text (`from __future__ import annotations`) as what it means.

    Shape: still text when it names what only a type checker sees.
    """
    if not isinstance(annotation, str):
        return annotation
    own = getattr(inspect.unwrap(function), "__globals__", {})
    # The names of another module's function mean nothing here.
    local = frame.f_locals if frame.f_globals is own else {}
    try:
        return eval(annotation, {**own, **local})  # noqa: S307 (the app's own source, as typing reads it)
    except (NameError, AttributeError, TypeError, SyntaxError, ValueError):
        return annotation


def run(work: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine to its end from synchronous code, also where a loop already runs."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    # The loop of this thread cannot be waited for from within itself; another's can.
    with ThreadPoolExecutor(1, "lq-handler") as beside:
        return beside.submit(copy_context().run, asyncio.run, work).result()
