"""`lq push`: add an item to a queue, and perhaps wait for what becomes of it."""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lq.client import Client, Json
from lq.commands import common
from lq.commands.common import AsJson, looking, note, now, out, out_json
from lq.commands.failure import NEGATIVE, NotFinished

app = common.app()

FINISHED = {"COMPLETED", "FAILED", "CANCELLED"}
WAITING = {"PENDING", "RETRY"}
FIRST_LOOK_S, LAST_LOOK_S = 0.02, 1.0


@app.command()
@common.remote
def push(
    client: Client,
    *,
    queue: Annotated[
        str,
        typer.Option(
            "--queue",
            metavar="QUEUE",
            help="Where to push it.",
            autocompletion=common.queue_names,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(metavar="URL", help="What to call; else the queue's own target."),
    ] = None,
    data: Annotated[
        str, typer.Option(metavar="DATA", help='The payload, "@FILE" to read it, "-" for stdin.')
    ] = "",
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Unique among the queue's unfinished items.")
    ] = None,
    delay: Annotated[
        int | None,
        typer.Option(metavar="DURATION", parser=common.duration, help='Not before, as in "5m".'),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", parser=common.instant, help='Not before, as in "tomorrow 09:00".'
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="'NAME: VALUE'", help="Sent with the call; may be repeated."),
    ] = None,
    content_type: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="Of the payload; JSON and text are recognised."),
    ] = None,
    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None,
        typer.Option(help="How to call; POST if not said.", case_sensitive=False),
    ] = None,
    retry: Annotated[
        str | None, typer.Option(metavar="N|WAITS", help='How often, "8", or when, "10s,1m,1h".')
    ] = None,
    timeout: Annotated[
        int | None,
        typer.Option(metavar="DURATION", parser=common.duration, help="Of one attempt."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION|TIME",
            parser=common.instant_or_duration,
            help="Fails if it has not started by then.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="LABEL", help="To search by; may be repeated.")
    ] = None,
    if_exists: Annotated[
        Literal["replace", "keep", "reject"] | None,
        typer.Option(help="When the key waits already; replace if not said."),
    ] = None,
    completion: Annotated[
        Literal["response", "callback"] | None,
        typer.Option(
            help="What completes it: the response of the call, or the handler's callback later.",
            case_sensitive=False,
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The same push with it again within a day does nothing."),
    ] = None,
    from_jsonl: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help='Push each line of a file, as of a batch, or of stdin ("-"); again, it goes on.',
        ),
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where lines that failed go; else beside that file."),
    ] = None,
    no_validate: Annotated[
        bool, typer.Option("--no-validate", help="Call it even if it never proved the secret.")
    ] = False,
    wait: common.Wait = False,
    wait_timeout: common.WaitTimeout = None,
    as_json: AsJson = False,
) -> None:
    """Add an item to a queue, to be called at its time.

    With a terminal it says what was pushed and for when, otherwise it prints the bare id.
    """
    options: dict[str, Any] = {
        "target": target,
        "delay_ms": delay,
        "on": on,
        "headers": read_headers(header or []),
        "method": method,
        "retry": retry,
        "timeout_ms": timeout,
        "expires": expires,
        "labels": label,
        "if_exists": if_exists,
        "validate": False if no_validate else None,
        "completion": completion,
    }
    waiting = wait or wait_timeout is not None
    if from_jsonl is not None:
        refuse_single(
            data=data, key=key, content_type=content_type, idempotency_key=idempotency_key
        )
        if waiting:
            raise typer.BadParameter("is for a single item", param_hint="--wait")
        from lq.commands.push_file import push_file

        wanted = {name: value for name, value in options.items() if value not in (None, {})}
        push_file(client, queue, from_jsonl, wanted, failures=failures, as_json=as_json)
        return
    payload = read_payload(data)
    item = client.push(
        queue,
        payload,
        idempotency_key=idempotency_key,  # not one of its own: each costs the daemon a row
        content_type=content_type or recognised_type(payload),
        key=key,
        **options,
    )
    if not (as_json and waiting):
        show_pushed(item, as_json=as_json)
    if item.get("expires", "~") <= item.get("nextAttempt", ""):  # instants sort as text
        note(f"{item['id']} expires before it is due, so it will fail without having been called.")
    if waiting:
        final = follow(client, item["id"], wait_timeout)
        show_outcome(final, as_json=as_json)


def refuse_single(**given: str | None) -> None:
    """Refuse options that say something of a single item, beside a file of many."""
    for name, value in given.items():
        if value:
            hint = f"--{name.replace('_', '-')}"
            raise typer.BadParameter("is for a single item: each line has its own", param_hint=hint)


def read_payload(data: str) -> bytes:
    """The bytes that --data means: itself, a file's after "@", or stdin's for "-"."""
    if data == "-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return os.fsencode(data)
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        why = f"cannot read {data[1:]}: {error.strerror}"
        raise typer.BadParameter(why, param_hint="--data") from None


def recognised_type(payload: bytes) -> str | None:
    """JSON if it parses, else text if it is UTF-8, else bytes; none for an empty payload."""
    if not payload:
        return None
    try:
        text = payload.decode()
        json.loads(text, parse_constant=int)  # NaN is no JSON, and int("NaN") a ValueError
    except UnicodeDecodeError:
        return "application/octet-stream"
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"


def read_headers(lines: list[str]) -> dict[str, str]:
    """The headers that `--header 'Name: value'` options give."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter(f'expected "Name: value", got "{line}"', param_hint="--header")
        if name.strip() in headers:
            raise typer.BadParameter(f"{name.strip()} is there twice", param_hint="--header")
        headers[name.strip()] = value.strip()
    return headers


def show_pushed(item: Json, *, as_json: bool) -> None:
    """Print what a push did: a line for people, the bare id for programs."""
    if as_json:
        out_json(item)
    elif looking():
        from lq.render import pushed_line

        out(pushed_line(item, now()))
    else:
        out(item["id"])


def follow(client: Client, item_id: str, timeout_ms: int | None) -> Json:
    """Wait until an item is finished, saying on stderr what keeps it waiting.

    Its attempts are told of, too, while a person looks. Raises: NotFinished.
    """
    give_up = math.inf if timeout_ms is None else time.monotonic() + timeout_ms / 1000
    gc.enable()  # this can take long, and the entry point turned it off
    told = 0
    said = None
    pause_s = FIRST_LOOK_S
    while True:
        item = client.item(item_id)
        if sys.stderr.isatty():
            ended = tell_attempts(client, item_id, told)
            if ended[told:]:
                told, said = len(ended), ended[-1].get("error")
        if item["state"] in FINISHED:
            return item
        reason = item.get("error") if item["state"] in WAITING else None
        if reason is not None and reason != said:
            tell_reason(item)
            said = reason
        left_s = give_up - time.monotonic()
        if left_s <= 0:
            raise NotFinished(
                f"{item_id} is still {item['state']}{f': {reason}' if reason else ''}",
                hint=f"It goes on; `lq items show {item_id}` tells how far it is.",
            )
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, LAST_LOOK_S)


def tell_reason(item: Json) -> None:
    """Say on stderr why an item waits, and until when."""
    from lq.render import clean, due

    note(f"{item['id']} waits, {due(item, now())}: {clean(item['error'])}")


def tell_attempts(client: Client, item_id: str, told: int) -> list[Json]:
    """Say on stderr how the attempts beyond the first `told` ended; all that have."""
    from lq.render import attempt_line

    ended = [attempt for attempt in client.attempts(item_id) if "ms" in attempt]
    for attempt in ended[told:]:
        note(attempt_line(attempt))
    return ended


def show_outcome(item: Json, *, as_json: bool) -> None:
    """Print what became of an item, and exit with it."""
    from lq.render import state_line

    completed = item["state"] == "COMPLETED"
    if as_json:
        out_json(item)
    elif looking():
        out(state_line(item))
    elif not completed:
        note(state_line(item))
    if not completed:
        raise typer.Exit(NEGATIVE)
