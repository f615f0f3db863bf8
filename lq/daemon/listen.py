"""The sockets that the daemon listens on: binding them, TLS, and letting go of them again.

Owns: the unix socket's file and its mode, and the certificate that is shown. Never looks at
what is said over a connection.
Invariant: who has connected keeps the connection, whatever certificate is read later; one that
cannot be used replaces none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from lq import exposure
from lq.config import Config
from lq.daemon.api.app import Api
from lq.daemon.api.server import Server, address_of
from lq.errors import InUse, StartError

log = logging.getLogger(__name__)

_BACKLOG: Final = 1024
HANDSHAKE_S: Final = 10.0
# What a stop grants, once the calls have ended, to requests under way: a peer that sends its
# body slowly, or does not read its answer, must not hold it up.
_LAST_ANSWERS_S: Final = 1.0
_BREATH_S: Final = 1.0


class Certificate:
    """What `[tls]` names, as it was read last; `context` is None for plain http."""

    def __init__(self, config: Config) -> None:
        """Raises: ConfigError."""
        self.context = exposure.server_context(config)

    def read(self, config: Config) -> Callable[[], None]:
        """Read the files again; what this returns puts them in use.

        Shape: whether there is TLS at all stays as it was. Raises: ConfigError.
        """
        renewed = exposure.server_context(config)

        def use() -> None:
            if self.context is not None and renewed is not None:
                self.context = renewed
                log.info("new connections get the certificate %s", config.tls.cert)

        return use


@contextlib.asynccontextmanager
async def listening(config: Config, api: Api, certificate: Certificate) -> AsyncIterator[int]:
    """Serve the API on the TCP address and the unix socket; gives the TCP port."""
    async with contextlib.AsyncExitStack() as opened:
        # The unix socket first: whoever finds the port open goes on to use the socket.
        unix = opened.enter_context(_bind_unix(config.socket))
        opened.callback(config.socket.unlink, missing_ok=True)
        tcp = opened.enter_context(_bind(config))
        await opened.enter_async_context(_serving(api.server(trusted=True), unix))
        server = api.server(trusted=False)
        if certificate.context is None:
            await opened.enter_async_context(_serving(server, tcp))
        else:
            await opened.enter_async_context(_serving_tls(server, tcp, certificate))
        yield tcp.getsockname()[1]


@contextlib.asynccontextmanager
async def _serving(server: Server, listener: socket.socket) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    accepting = await loop.create_server(server, sock=listener, backlog=_BACKLOG)
    try:
        yield
    finally:
        accepting.close()
        await _last_answers(server)


@contextlib.asynccontextmanager
async def _serving_tls(
    server: Server, listener: socket.socket, certificate: Certificate
) -> AsyncIterator[None]:
    """Accept by hand, so that unfinished handshakes count as connections."""
    door = _TlsDoor(server, certificate)
    async with asyncio.TaskGroup() as tasks:
        accepting = tasks.create_task(door.accept(listener))
        try:
            yield
        finally:
            accepting.cancel()
            door.close()
            await _last_answers(server)


async def _last_answers(server: Server) -> None:
    await asyncio.sleep(0)  # so that requests which have come are begun
    server.pre_shutdown()
    await server.shutdown(_LAST_ANSWERS_S)


class _TlsDoor:
    """Where TLS begins; once it stands, a connection is the server's."""

    def __init__(self, server: Server, certificate: Certificate) -> None:
        self._server = server
        self._certificate = certificate
        self._handshakes: set[asyncio.Task[None]] = set()

    async def accept(self, listener: socket.socket) -> None:
        """Let in whoever comes, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, name = await loop.sock_accept(listener)
            except OSError as error:  # out of files, most likely
                log.warning("cannot accept a connection just now: %s", error.strerror)
                await asyncio.sleep(_BREATH_S)
                continue
            task = loop.create_task(self._shake_hands(connection, address_of(name)))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def close(self) -> None:
        """Wait for no handshake any longer."""
        for task in self._handshakes:
            task.cancel()

    async def _shake_hands(self, connection: socket.socket, address: str) -> None:
        served = self._server()
        if not served.count(address):
            connection.close()
            return
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: served,
                connection,
                ssl=self._certificate.context,
                ssl_handshake_timeout=HANDSHAKE_S,
            )
        except OSError as error:
            served.leave()
            log.debug("no TLS with %s: %s", address, error)


def _bind(config: Config) -> socket.socket:
    """Listen on the TCP address. Raises: InUse; ConfigError when others can reach it."""
    try:
        family, address = exposure.where(config)
        with contextlib.ExitStack() as failed:
            listener = failed.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            exposure.check_bound(config, listener)
            # Where two have bound an address, this is where the second one learns of it.
            listener.listen(_BACKLOG)
            failed.pop_all()
    except OSError as error:
        raise InUse(
            f"cannot listen on {config.listen}: {error.strerror}",
            hint="stop what listens there, or set `listen` to another address",
        ) from error
    listener.setblocking(False)
    return listener


def _bind_unix(path: Path) -> socket.socket:
    """Listen on the unix socket, 0600, in place of one that a dead daemon left behind."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
            if _answers(path):
                raise InUse(
                    f"another daemon listens on {path}", hint="give this one another `socket`"
                )
            path.unlink()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {path}: {error.strerror or error}") from error
    except InUse:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
