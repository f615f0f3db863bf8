"""The settings in force, over the API: each as lq.toml would have it, with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lq.client import ApiError, AsyncClient
from lq.config import KINDS, Config, load
from lq.daemon.main import daemon
from lq.model import Scope
from lq.render_settings import settings_text
from tests.clock import FakeClock
from tests.integration.api.raw import Peer

CANARY = "canary"
FILE = f"""\
listen = "127.0.0.1:0"
max_payload = "512KiB"
trusted_proxy = ["127.0.0.1", "10.0.0.0/8"]

[dispatch]
timeout = "90s"
concurrency = 7

[retry]
factor = 2.5
jitter = 0

[validate]
skip = ["http://127.0.0.1:1/*"]

[egress]
allow = ["127.0.0.1:1-65535"]

[watch]
ping = "http://127.0.0.1:9/{CANARY}"

[queues."a b"]
target = "http://127.0.0.1:9/hook?token={CANARY}"
headers = {{ "Authorization" = "{CANARY}" }}
rate = "10/s"
retry = "10s,1m"
fifo = false

[queues.mail]
concurrency = 3

[scriptlets.backup]
command = ["/bin/true", "--password={CANARY}"]
env = {{ KEY = "{CANARY}" }}
cpu_seconds = 5
timeout = "2h"

[[alerts]]
name = "ops"
target = "http://127.0.0.1:9/{CANARY}"
headers = {{ "Authorization" = "{CANARY}" }}
late = "5m"
"""


def read(folder: Path, text: str = FILE, **variables: str) -> Config:
    """What is configured in this folder."""
    path = folder / "lq.toml"
    path.write_text(text)
    places = {"LQ_DATA_DIR": str(folder / "data"), "LQ_SOCKET": str(folder / "socket")}
    return load(str(path), {**places, **variables})


def by_name(found: dict[str, Any]) -> Mapping[str, dict[str, Any]]:
    return {
        f"{table['name']}.{one['key']}".lstrip("."): one
        for table in found["tables"]
        for one in table["settings"]
    }


async def test_each_setting_is_told_with_its_origin(tmp_path: Path, clock: FakeClock) -> None:
    config = read(tmp_path, LQ_DISPATCH_DRAIN_TIMEOUT="1m", LQ_QUEUES_MAIL_BURST="9")
    async with daemon(config, clock), AsyncClient(socket=config.socket) as client:
        found = await client.config()
    assert CANARY not in str(found)
    file = str(tmp_path / "lq.toml")
    assert found["file"] == file
    settings = by_name(found)
    assert {".".join(path) for path in KINDS} <= settings.keys()
    shown = {name: (one.get("value"), one["origin"]) for name, one in settings.items()}
    assert shown["dispatch.timeout"] == ('"1m30s"', f"{file}:6")
    assert shown["dispatch.concurrency"] == ("7", f"{file}:7")
    assert shown["dispatch.drain_timeout"] == ('"1m"', "LQ_DISPATCH_DRAIN_TIMEOUT")
    assert shown["dispatch.queue_concurrency"] == ("16", "default")
    assert shown["dispatch.ca_file"] == (None, "default")
    assert shown["max_payload"] == ('"512KiB"', f"{file}:2")
    assert shown["max_batch"] == ('"16MiB"', "default")
    assert shown["trusted_proxy"] == ('["127.0.0.1/32", "10.0.0.0/8"]', f"{file}:3")
    assert shown["retry.factor"] == ("2.5", f"{file}:10")
    assert shown["queues.a b.rate"] == ('"10/s"', f"{file}:25")
    assert shown["queues.a b.retry"] == ('"10s,1m"', f"{file}:26")
    assert shown["queues.a b.fifo"] == ("false", f"{file}:27")
    assert shown["queues.a b.target"] == ('"http://127.0.0.1:9/hook"', f"{file}:23")
    assert shown["queues.mail.burst"] == ("9", "LQ_QUEUES_MAIL_BURST")
    assert shown["scriptlets.backup.cpu_seconds"][0] == "5"
    assert shown["scriptlets.backup.timeout"][0] == '"2h"'
    assert shown["alerts.ops.late"] == ('"5m"', file)
    hidden = {name for name, one in settings.items() if one.get("hidden")}
    assert hidden == {
        *("watch.ping", "queues.a b.headers", "scriptlets.backup.env"),
        *("scriptlets.backup.command", "alerts.ops.target", "alerts.ops.headers"),
    }
    assert all("value" not in settings[name] for name in hidden)


async def test_what_is_shown_can_be_read_again(tmp_path: Path, clock: FakeClock) -> None:
    """As lq.toml has it: the text is a file that sets all to what it is."""
    config = read(tmp_path, LQ_LOG_LEVEL="warning")
    async with daemon(config, clock), AsyncClient(socket=config.socket) as client:
        text = settings_text((await client.config())["tables"])
    text = text.replace("[[alerts]]", '[[alerts]]\ntarget = "http://127.0.0.1:9/"')
    text = text.replace("[scriptlets.backup]", '[scriptlets.backup]\ncommand = ["/bin/true"]')
    again = read(tmp_path, text)
    unseen = {"origin", "path", "watch", "queues", "scriptlets", "alerts"}
    for name in set(Config.__struct_fields__) - unseen:
        assert getattr(again, name) == getattr(config, name), name
    for name, settings in config.queues.items():
        bare = replace(settings, headers=None, target=again.queues[name].target)
        assert again.queues[name] == bare
    assert again.scriptlets["backup"].limits == config.scriptlets["backup"].limits
    assert again.alerts[0].late_ms == config.alerts[0].late_ms


async def test_a_reload_leaves_what_waits_for_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    config = read(tmp_path)

    def reread() -> Config:
        text = FILE.replace('"90s"', '"80s"').replace("concurrency = 3", "concurrency = 4")
        return read(tmp_path, f"# a line more\n{text}")

    running = daemon(config, clock, load_config=reread)
    async with running, AsyncClient(socket=config.socket) as client:
        before = by_name(await client.config())
        assert "dispatch.timeout" in (await client.reload())["restart"]
        after = by_name(await client.config())
    assert after["dispatch.timeout"] == {**before["dispatch.timeout"], "waiting": True}
    assert not any(one.get("waiting") for name, one in after.items() if name != "dispatch.timeout")
    file = str(tmp_path / "lq.toml")
    assert after["dispatch.concurrency"]["origin"] == f"{file}:8"
    mail = after["queues.mail.concurrency"]
    assert (mail["value"], mail["origin"]) == ("4", f"{file}:31")


async def test_settings_are_for_tokens_of_all_queues(tmp_path: Path, clock: FakeClock) -> None:
    config = read(tmp_path)
    async with daemon(config, clock) as running:
        url = f"http://127.0.0.1:{running.port}"

        async def status(scope: Scope, *queues: str) -> int:
            name = f"{scope}{len(queues)}"
            _, token = await running.engine.create_token(name, frozenset({scope}), queues, None)
            async with AsyncClient(url, token) as client:
                try:
                    await client.config()
                except ApiError as error:
                    return error.status
            return 200

        assert await status(Scope.READ) == 200
        assert await status(Scope.READ, "mail*") == 403
        assert await status(Scope.ADMIN, "mail*") == 403
        assert await status(Scope.PUSH) == 403


async def test_the_answer_is_as_described(tmp_path: Path, clock: FakeClock) -> None:
    config = read(tmp_path)
    async with daemon(config, clock):
        peer = Peer(socket_path=str(config.socket))
        assert (await peer.ask("GET config")).status == 200
        assert (await peer.ask("GET config?all=1")).status == 400
        await peer.close()
