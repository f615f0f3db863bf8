"""Printing what scriptlets write, as it is for programs and harmless for terminals."""

from __future__ import annotations

import base64
import gc
import os
import sys

import typer

from lq.client import Client, Json
from lq.commands import failure
from lq.commands.common import looking
from lq.errors import LqError

_PATIENCE = "20s"


def follow(client: Client, item_id: str, attempt: int | None = None) -> None:
    """Print what an attempt writes until it has ended, from its beginning on."""
    gc.enable()  # this can take long, and the entry point turned it off
    part: Json = {"attempt": attempt, "offset": 0, "running": True}
    while part["running"]:
        part = client.logs(item_id, attempt=part["attempt"], offset=part["offset"], wait=_PATIENCE)
        show(part)


def show(part: Json) -> None:
    """Print a part of a log: as it is for programs; a terminal is shown text and colours alone."""
    text = part.get("log", "")
    if looking():
        from lq.render import clean_log

        data = clean_log(text if "logEncoding" not in part else "[binary]").encode()
    else:
        data = base64.b64decode(text) if "logEncoding" in part else text.encode()
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(failure.BROKEN_PIPE) from None
        raise LqError(f"cannot write to stdout: {error.strerror}") from None
