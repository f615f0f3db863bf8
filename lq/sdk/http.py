"""The seam between handlers and web frameworks: one request as bytes, one response as bytes.

Owns: the shapes that adapters translate from and to, and finding an endpoint by its path. Knows
no framework, reads no socket.
Invariant: bodies are the raw bytes that came, because signatures are over those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote

Headers = tuple[tuple[str, str], ...]

METHODS: Final = ("HEAD", "GET", "POST", "PUT", "PATCH", "DELETE")
"""What lq sends: HEAD to validate, the others as calls."""


class Request(NamedTuple):
    """One request as it came. Shape: headers in any case, one that came twice is there twice."""

    method: str
    path: str
    headers: Headers
    body: bytes

    def all(self, name: str) -> list[str]:
        """Each value of a header, as received. Shape: `name` is lower case."""
        return [value for other, value in self.headers if other.lower() == name]

    def one(self, name: str) -> str | None:
        """A header's value if it came exactly once."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None


class Response(NamedTuple):
    """What to answer, whole. Its length is for the adapter to say."""

    status: int
    headers: Headers
    body: bytes


class Endpoint(Protocol):
    """What answers the calls of a path. Both verbs answer whatever happens, and never raise."""

    @property
    def path(self) -> str: ...

    async def respond(self, request: Request) -> Response: ...

    def respond_sync(self, request: Request) -> Response: ...


class Mount:
    """Several endpoints, found by path."""

    def __init__(self, *endpoints: Endpoint) -> None:
        """Raises: ValueError when two have the same path."""
        self._endpoints: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            name = _comparable(endpoint.path)
            if name in self._endpoints:
                raise ValueError(f"two handlers have the path {endpoint.path}")
            self._endpoints[name] = endpoint

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints.values())

    def find(self, path: str) -> Endpoint | None:
        """The endpoint of a path, percent-encoded or not, with a slash at its end or without."""
        return self._endpoints.get(_comparable(path))


def text(status: int, message: str, *headers: tuple[str, str]) -> Response:
    """A response for people, or none at all where there is nothing to say."""
    if not message:
        return Response(status, headers, b"")
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, (kind, *headers), message.encode("utf-8", "replace"))


def _comparable(path: str) -> str:
    # Frameworks hand paths on decoded or as they came; a path that is neither is nobody's.
    return unquote(path).rstrip("/") or "/"
