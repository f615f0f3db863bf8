"""`lq listen`: calls of a daemon, made to an application on this machine, a line each."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from lq.client import ApiError, AsyncClient, Json, NotFoundError, Unreachable
from lq.commands import common
from lq.commands.common import AsJson, looking, note, out, out_json
from lq.errors import LqError
from lq.paths import find_socket

if TYPE_CHECKING:
    from lq.commands.listen_forward import Forwarder, Said

app = common.app()

_AT_ONCE = 16
_HOLD_MS = 500
_AGAIN_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_NAMELESS = re.compile(r"[^A-Za-z0-9._-]+")

ForwardTo = Annotated[
    str | None,
    typer.Option(metavar="URL", help='Your application, as in "http://localhost:3000".'),
]
Path = Annotated[
    str | None, typer.Option(metavar="PATH", help="Call this path, not that of the target.")
]


@app.command()
def listen(
    *,
    forward_to: ForwardTo = None,
    queue: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Calls of these queues.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Calls to these targets.")
    ] = None,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over/--copy",
            help="Answer the calls in place of their targets, or get copies of them.",
        ),
    ] = False,
    path: Path = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="How the daemon calls this listener.")
    ] = None,
    number: Annotated[
        int | None, typer.Option("-n", metavar="N", min=1, help="End after so many calls.")
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show who listens, and end.")] = False,
    as_json: AsJson = False,
    config: common.ConfigFile = None,
    url: common.Url = None,
    token: common.Token = None,
) -> None:
    """Bring calls of lq to an application on this machine.

    It goes on until Ctrl-C. Copies change nothing. With --take-over the application's answer is
    the outcome. Needs a token with the scope admin, or the socket of the daemon. With LQ_SECRET
    set, signatures are checked.
    """
    if show_list:
        _list(common.connect(config, url, token).listeners(), as_json=as_json)
        return
    if forward_to is None:
        raise typer.BadParameter("is missing", param_hint="--forward-to")
    wish = {
        "name": name or _own_name(),
        "take_over": take_over,
        "queues": tuple(queue or ()),
        "targets": tuple(target or ()),
    }
    client = connect(config, url, token)
    listening = Listening(client, forwarder(forward_to, path), wish, as_json=as_json)
    asyncio.run(listening.until_stopped(number))


def connect(config: str | None, url: str | None, token: str | None) -> AsyncClient:
    """The daemon, as `common.connect` finds it, for an event loop."""
    address = common.url_in_use(config, url)
    if address is not None:
        return AsyncClient(address, token, retries=0)
    return AsyncClient(socket=find_socket(config, os.environ), retries=0)


def forwarder(forward_to: str, path: str | None) -> Forwarder:
    """The way to the application. Raises: BadParameter."""
    from lq.commands.listen_forward import Forwarder, check_base

    if path is not None and not path.startswith("/"):
        raise typer.BadParameter("begins with a slash", param_hint="--path")
    return Forwarder(check_base(forward_to), path, os.environ.get("LQ_SECRET") or None)


class Listening:
    """One listener, over connections that break and daemons that are started anew."""

    def __init__(self, client: AsyncClient, way: Forwarder, wish: Json, *, as_json: bool) -> None:
        self._client = client
        self._way = way
        self._wish = wish
        self._as_json = as_json
        self._id = ""
        self._after = 0
        self._lost = 0
        self._left: int | None = None
        self._busy: set[asyncio.Task[None]] = set()
        self.failed = 0

    async def until_stopped(
        self, number: int | None, then: Callable[[str], Awaitable[object]] | None = None
    ) -> None:
        """Listen until Ctrl-C, or until so many calls were made. Raises: ApiError, Unreachable.

        Shape: `then` gets the id once it listens; what it returns is awaited.
        """
        self._left = number
        work = asyncio.ensure_future(self._listen(then))
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, work.cancel)
        async with self._client, self._way:
            try:
                with suppress(asyncio.CancelledError):
                    await work
            finally:
                for task in self._busy:
                    task.cancel()
                await asyncio.gather(*self._busy, return_exceptions=True)
                if self._id:
                    with suppress(LqError):
                        await self._client.unlisten(self._id)

    async def _listen(self, then: Callable[[str], Awaitable[object]] | None) -> None:
        await self._begin()
        if then is not None:
            await then(self._id)
        tries = 0
        while self._left != 0 or self._busy:
            try:
                await self._step()
                if tries:
                    note("lq: connected again")
                tries = 0
            except NotFoundError:
                note("lq: the daemon has let this listener go; listening again")
                await self._insist()
            except (Unreachable, ApiError) as error:
                if isinstance(error, ApiError) and error.status != 503:
                    raise
                if not tries:
                    note(f"lq: {error.message}; waiting for it to come back")
                await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
                tries += 1

    async def _insist(self) -> None:
        """Listen anew, once a daemon is there that lets it."""
        tries = 0
        while True:
            try:
                await self._begin()
                return
            except (Unreachable, ApiError) as error:
                if isinstance(error, ApiError) and error.status != 503:
                    raise
                await asyncio.sleep(_AGAIN_S[min(tries, len(_AGAIN_S) - 1)])
                tries += 1

    async def _begin(self) -> None:
        listener = await self._client.listen(**self._wish)
        self._id, self._after, self._lost = listener["id"], 0, 0
        if self._wish.get("only_sent"):
            return
        how = "takes over calls" if listener["takeOver"] else "gets copies of calls"
        note(f"{listener['name']} {how} of {', '.join(listener.get('queues', ())) or 'all queues'}")
        if ahead := listener.get("ahead"):
            note(f"warning: {', '.join(ahead)} took over before: what both want goes there")

    async def _step(self) -> None:
        """Ask for the next call, and begin it."""
        full = len(self._busy) >= _AT_ONCE or self._left == 0
        news = await self._client.next_call(
            self._id, self._after, _HOLD_MS if full else 10_000, hold=full
        )
        if (lost := news.get("lost", 0)) > self._lost:
            note(f"warning: {lost - self._lost} copies were lost: the application is too slow")
            self._lost = lost
        if (call := news.get("call")) is None:
            return
        self._after = call["number"]
        if self._left is not None:
            self._left -= 1
        task = asyncio.create_task(self._carry_out(self._id, call))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _carry_out(self, listener: str, call: Json) -> None:
        signature = self._way.signature(call)
        said = await self._way.make(call)
        fault = None if call["copy"] else await self._answer(listener, call, said)
        if said.status is None or not 200 <= said.status < 300:
            self.failed += 1
        self._show(call, said, signature, fault)

    async def _answer(self, listener: str, call: Json, said: Said) -> str | None:
        """Bring an answer to the daemon; why it did not take it."""
        headers = {"x-lq-call": str(call["number"])}
        if said.status is None:
            headers["x-lq-error"] = said.error or "no answer"
        else:
            headers |= {"x-lq-status": str(said.status), "x-lq-headers": dumps(said.headers)}
            headers["x-lq-truncated"] = "1" if said.truncated else "0"
        try:
            await self._client.answer_call(listener, headers, said.body)
        except LqError as error:
            return f"the answer does not count: {error.message}"
        return None

    def _show(self, call: Json, said: Said, signature: str, fault: str | None) -> None:
        from lq.render_listen import call_line, call_text

        shown: Json = {
            "at": common.now(),
            **{name: call[name] for name in ("item", "queue", "key", "attempt") if name in call},
            "maxAttempts": call["maxAttempts"],
            "method": call["method"],
            "path": self._way.path(call),
            "copy": call["copy"],
            "status": said.status,
            "error": fault or said.error,
            "ms": said.ms,
            "signature": signature,
        }
        shown = {name: value for name, value in shown.items() if value is not None}
        if self._as_json:
            out_json(shown, indent=None)
        elif looking():
            from rich.console import Console

            Console(highlight=False).print(call_text(shown))
        else:
            out(call_line(shown))


def _own_name() -> str:
    """The user at the machine, as a name that the daemon takes."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    name = _NAMELESS.sub("-", f"{user}.{socket.gethostname()}").strip("-._")
    return name[:60] or "somebody"


def _list(found: list[Json], *, as_json: bool) -> None:
    from lq.render_listen import listeners_table

    common.show_listing(found, listeners_table, as_json=as_json, quiet=False)
