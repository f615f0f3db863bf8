"""Which handler answers a path: routing on the raw path, before anything is decoded.

A queue's name holds slashes, encoded or not, so that a path says where it ends only from the
other end; a key may hold anything. Patterns are tried in order; the first that knows the
method decides.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, NamedTuple

from lq.daemon.api.call import Call, Reply
from lq.errors import MethodNotAllowed, NotFound, RequestError
from lq.model import Scope
from lq.wire.describe import Field

Handler = Callable[[Call], Awaitable[Reply]]

_QUEUES: Final = "/api/v1/queues/"
_BY_KEY: Final = "/items/byKey/"
_ITEMS: Final = re.compile("/items(?:/|$)")


class Operation(NamedTuple):
    """What the description of the API says of a route, where its code does not say it.

    Shape: `answers` names what `wire` encodes by the status that it goes out with; `refusals` are
    those that neither scopes nor body explain; what is answered may be a `stream` of it, or
    `text` of this type. The body is a `payload`, any bytes, or a JSON `document` with these
    members, or a batch of `entries` with these, or there is none.
    """

    summary: str
    answers: Mapping[int, str]
    refusals: tuple[type[RequestError], ...] = ()
    headers: tuple[Field, ...] = ()
    query: tuple[Field, ...] = ()
    document: tuple[Field, ...] = ()
    payload: bool = False
    stream: bool = False
    text: str = ""
    entries: tuple[Field, ...] = ()


class Route(NamedTuple):
    """One method of one pattern, answered to principals that have any of `scopes`.

    Shape: the pattern's groups are `queue`, `key`, `id`, `name`, `schedule`,
    `schedule_key` and `token`.
    Without `scopes` any token will do. What is `limited` is for tokens of some queues, too: its
    handler keeps to these.
    """

    method: str
    pattern: str
    handler: Handler
    scopes: tuple[Scope, ...] = ()
    operation: Operation | None = None
    limited: bool = False


class Match(NamedTuple):
    """The route that a request takes, and the raw parts of its path."""

    route: Route
    parts: Mapping[str, str]


def parted(target: str) -> tuple[str, str, str]:
    """The path of a request, `?` if one follows, and the query.

    The SDK names queues after URLs, which may have a query, and puts them before `byKey` as they
    are. Below a queue only its list of items has a parameter that could hold such a path itself.
    """
    path, mark, query = target.partition("?")
    if _BY_KEY in query and path.startswith(_QUEUES) and not _ITEMS.search(path):
        queue, _, key = target.partition(_BY_KEY)
        key, mark, query = key.partition("?")
        path = f"{queue}{_BY_KEY}{key}"
    return path, mark, query


class Router:
    """All routes, matched in the order given."""

    def __init__(self, routes: Iterable[Route]) -> None:
        by_pattern: dict[str, dict[str, Route]] = {}
        for route in routes:
            methods = by_pattern.setdefault(route.pattern, {})
            methods[route.method] = route
            if route.method == "GET":
                methods["HEAD"] = route
        self._patterns = [(re.compile(p), methods) for p, methods in by_pattern.items()]

    def match(self, method: str, path: str) -> Match:
        """Find the route. Raises: NotFound, MethodNotAllowed naming what the path answers."""
        allowed: dict[str, None] = {}
        for pattern, methods in self._patterns:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            route = methods.get(method)
            if route is not None:
                return Match(route, found.groupdict())
            allowed |= dict.fromkeys(methods)
        if allowed:
            raise MethodNotAllowed(sorted(allowed))
        raise NotFound("there is nothing at this path", hint="the API is at /api/v1")
