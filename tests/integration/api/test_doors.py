"""Who is let in before anything is asked: by the address bound, and by the address that comes."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from pathlib import Path

import pytest

from lq.config import Config
from lq.daemon.api.app import Api
from lq.daemon.listen import Certificate, listening
from lq.daemon.main import Daemon
from lq.errors import ConfigError

from .conftest import SteppedClock
from .raw import Peer


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
async def test_what_was_bound_is_judged_before_it_is_served(
    running: Daemon, clock: SteppedClock, tmp_path: Path, listen: str
) -> None:
    """As when a name led nowhere, or home, until after the configuration was judged."""
    config = Config(data_dir=tmp_path, socket=tmp_path / "socket", listen=listen)
    api = Api(running.engine, clock=clock)
    with pytest.raises(ConfigError, match="is open to other machines"):
        async with listening(config, api, Certificate(config)):
            pass
    assert not config.socket.exists()


async def test_who_is_neither_here_nor_a_proxy_is_refused_before_its_token_is_looked_at(
    running: Daemon, api: Peer, clock: SteppedClock, tmp_path: Path
) -> None:
    """Whoever comes through a file has no address of this machine; so nothing leaves it."""
    served = Api(running.engine, clock=clock, trusted_proxy=[ip_network("10.0.0.1")])
    path = str(tmp_path / "stranger")
    server = await asyncio.get_running_loop().create_unix_server(served.server(trusted=False), path)
    stranger = Peer(socket_path=path, token=api.token)
    async with server:
        connection = await stranger.connect()
        answer = await connection.receive()
        assert (answer.status, answer.json["type"]) == (403, "FORBIDDEN")
        assert "plain http" in answer.json["message"]
        assert "trusted_proxy" in answer.json["hint"]
        assert await connection.ended()
    await stranger.close()
