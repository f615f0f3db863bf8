"""What all adapters share: where an endpoint is looked for, how large a body is read, refusals.

Pure. Never judges a method, a signature or a payload: that is the endpoint's.
"""

from __future__ import annotations

import re
from typing import Final

from lq.sdk.http import Endpoint, Headers, Mount, Response, text

MAX_BODY: Final = 1 << 20
"""How large a body is read, unless said otherwise: the daemon's `max_payload`. Units: bytes."""

_LENGTH: Final = re.compile(r"[0-9]{1,18}")


def find(mount: Mount, path: str, root: str = "") -> Endpoint | None:
    """The endpoint of a request's path, wherever the application around it is mounted.

    Servers disagree on whether a path holds the root that it is mounted at, and an endpoint may
    be named with all of that root, with its inner part, or without it: each is tried. Being found
    is no permission: what counts is the signature.
    """
    outer = [segment for segment in root.split("/") if segment]
    for whole in (path, f"/{'/'.join(outer)}{path}" if outer else path):
        for known in range(len(outer) + 1):
            prefix = "".join(f"/{segment}" for segment in outer[:known])
            if not whole.startswith(f"{prefix}/"):
                break
            if (endpoint := mount.find(whole[len(prefix) :])) is not None:
                return endpoint
    return None


def refuses(length: str | None, max_body: int) -> Response | None:
    """What is wrong with a request, judged by its Content-Length."""
    if length and not _LENGTH.fullmatch(length):
        return text(400, "Content-Length is not a number of bytes")
    if length and int(length) > max_body:
        return too_large(max_body)
    return None


def too_large(max_body: int) -> Response:
    return text(413, f"the body has more than the {max_body} bytes that max_body allows")


def endless() -> Response:
    return text(411, "this server cannot tell where a chunked body ends")


def not_found() -> Response:
    return text(404, "no handler of lq is here")


def framed(response: Response) -> Headers:
    """The headers of a response, with its true length where HTTP has one."""
    others = tuple(header for header in response.headers if header[0].lower() != "content-length")
    if response.status == 204:
        return others
    return (*others, ("Content-Length", str(len(response.body))))


def body_after(method: str, response: Response) -> bytes:
    """What follows the headers of a response: nothing after HEAD, whatever its length says.

    Not every server keeps back what it is given there, and it would pass for the next answer.
    """
    return b"" if method == "HEAD" else response.body
