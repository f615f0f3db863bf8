"""A lock on the way out of the test process: while it is closed, nothing leaves this machine."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator

_HERE = frozenset({"127.0.0.1", "::1", "localhost", b"127.0.0.1", b"::1", b"localhost"})
_closed = 0


def _judge(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse connections to other machines, and questions about names, from any thread."""
    if not _closed:
        return
    if event in {"socket.connect", "socket.sendto"}:
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in _HERE:
            raise PermissionError(f"a test wants to reach {address[0]}")
    elif event == "socket.getaddrinfo" and arguments[0] not in {*_HERE, None}:
        raise socket.gaierror(socket.EAI_FAIL, "a test asks for no names")


sys.addaudithook(_judge)  # one cannot be taken away again, hence the counter


@contextlib.contextmanager
def nothing_leaves() -> Iterator[None]:
    """Close the lock while the context is open."""
    global _closed  # noqa: PLW0603 - the hook has no other way to know
    _closed += 1
    try:
        yield
    finally:
        _closed -= 1
