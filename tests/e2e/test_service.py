"""The daemon as a service: the unit that is written, and what a service manager hears.

No systemd runs where tests do, so the ExecStart of the unit is started as systemd would, with a
NOTIFY_SOCKET of the test's own.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lq.client import Client
from lq.config import Config
from lq.takeover.units import commands, last, parse
from lq.unit import DROP_IN, NAME

from .conftest import Start
from .process import PATIENCE_S, environment, run_lq

needs_scriptlets = pytest.mark.skipif(
    "scriptlets" not in Config.__struct_fields__, reason="this lq runs no scriptlets"
)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager, at `tmp_path/notify`."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as ear:
        ear.settimeout(PATIENCE_S)
        ear.bind(f"{tmp_path}/notify")
        yield ear


def heard(manager: socket.socket, word: str) -> str:
    """The next message that says this word."""
    while word not in (text := manager.recv(4096).decode()).split("\n"):
        pass
    return text


def test_a_service_manager_hears_of_its_whole_life(
    start: Start, tmp_path: Path, manager: socket.socket
) -> None:
    environ = {"NOTIFY_SOCKET": f"{tmp_path}/notify", "WATCHDOG_USEC": "200000"}
    daemon = start(environ=environ)
    assert "STATUS=0 calls are running" in heard(manager, "READY=1")
    for _ in range(3):
        heard(manager, "WATCHDOG=1")
    daemon.send(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in heard(manager, "RELOADING=1")
    heard(manager, "READY=1")
    heard(manager, "WATCHDOG=1")
    daemon.send(signal.SIGTERM)
    heard(manager, "STOPPING=1")
    assert daemon.wait().code == 0
    assert "cannot be told" not in daemon.stderr


def test_ready_is_said_when_it_serves(start: Start, tmp_path: Path, manager: socket.socket) -> None:
    daemon = start(start=False, environ={"NOTIFY_SOCKET": f"{tmp_path}/notify"})
    daemon.launch()
    heard(manager, "READY=1")
    assert daemon.client.ready() == {"status": "ok"}


def test_a_daemon_that_cannot_start_is_never_ready(
    start: Start, tmp_path: Path, manager: socket.socket
) -> None:
    daemon = start("max_payload = 0", start=False, environ={"NOTIFY_SOCKET": f"{tmp_path}/notify"})
    daemon.launch()
    assert daemon.wait().code == 78
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(4096)


def install(folder: Path, *words: str) -> str:
    done = run_lq("service", "install", *words, cwd=folder, environ=environment(folder))
    assert done.code == 0, done.stderr
    return done.stderr


def test_what_is_installed_runs(tmp_path: Path, manager: socket.socket) -> None:
    config = tmp_path / "lq.toml"
    config.write_text(f'listen = "127.0.0.1:0"\ndata_dir = "{tmp_path}/data"\n')
    image = tmp_path / "image"
    install(tmp_path, "--root", str(image), "--config", str(config))
    unit = image / "etc/systemd/system" / NAME
    assert unit.stat().st_mode & 0o777 == 0o644
    read = parse(unit.read_text())
    (command,) = commands(last(read, "Service", "ExecStart") or "")
    with subprocess.Popen(
        command.words,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "NOTIFY_SOCKET": f"{tmp_path}/notify"},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            heard(manager, "READY=1")
            assert Client(socket=tmp_path / "data/lq.sock").info()["pid"] == process.pid
        finally:
            process.terminate()
        heard(manager, "STOPPING=1")
        assert process.wait(PATIENCE_S) == 0


def test_an_image_gets_a_configuration(tmp_path: Path) -> None:
    install(tmp_path, "--root", str(tmp_path / "image"))
    assert (tmp_path / "image/etc/lq/lq.toml").read_text() == 'data_dir = "/var/lib/lq"\n'
    text = (tmp_path / "image/etc/systemd/system" / NAME).read_text()
    assert " serve --config /etc/lq/lq.toml\n" in text
    assert "StateDirectory=lq\n" in text
    # Again, over what it wrote itself.
    install(tmp_path, "--root", str(tmp_path / "image"))
    done = run_lq(
        *("service", "uninstall", "--root", str(tmp_path / "image")),
        cwd=tmp_path,
        environ=environment(tmp_path),
    )
    assert done.code == 0, done.stderr
    left = [path.name for path in (tmp_path / "image").rglob("*") if path.is_file()]
    assert left == ["lq.toml"]


def test_a_unit_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "image/etc/systemd/system"
    folder.mkdir(parents=True)
    (folder / NAME).write_text("[Service]\nExecStart=/bin/true\n")
    for verb in ("install", "uninstall"):
        done = run_lq(
            *("service", verb, "--root", str(tmp_path / "image")),
            cwd=tmp_path,
            environ=environment(tmp_path),
        )
        assert done.code == 1
        assert "was not written by" in done.stderr
    assert (folder / NAME).read_text() == "[Service]\nExecStart=/bin/true\n"


def test_printing_changes_nothing(tmp_path: Path) -> None:
    done = run_lq(
        "service", "install", "--user", "--print", cwd=tmp_path, environ=environment(tmp_path)
    )
    assert done.code == 0, done.stderr
    assert f"# {tmp_path}/.config/systemd/user/{NAME}" in done.stdout
    assert "WantedBy=default.target" in done.stdout
    assert DROP_IN not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("scriptlet", "run_as", "user"),
    [
        ('[scriptlets.a]\ncommand = ["/bin/true"]\n', "lq", None),
        ('[scriptlets.a]\ncommand = ["/bin/true"]\nuser = "games"\n', "lq", "root"),
        ('[scriptlets.a]\ncommand = ["/bin/true"]\nuser = "nobody"\n', "nobody", None),
        ('[scriptlets.a]\ncommand = ["/bin/true"]\n', "root", "root"),
    ],
)
@needs_scriptlets
def test_scriptlets_get_what_they_need(
    tmp_path: Path, scriptlet: str, run_as: str, user: str | None
) -> None:
    image, config = tmp_path / "image", tmp_path / "image/etc/lq/lq.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'data_dir = "/var/lib/lq"\n{scriptlet}')
    install(tmp_path, "--root", str(image), "--config", str(config), "--run-as", run_as)
    loose = image / "etc/systemd/system" / f"{NAME}.d" / DROP_IN
    assert last(parse(loose.read_text()), "Service", "User") == user
    # Without scriptlets it goes again.
    config.write_text('data_dir = "/var/lib/lq"\n')
    install(tmp_path, "--root", str(image), "--config", str(config))
    assert not loose.exists()


def test_a_shell_and_the_service_agree_on_the_data(tmp_path: Path) -> None:
    config = tmp_path / "lq.toml"
    config.write_text('listen = "127.0.0.1:0"\n')
    done = run_lq(
        *("service", "install", "--print", "--config", str(config)),
        cwd=tmp_path,
        environ=environment(tmp_path, LQ_DATA_DIR="/elsewhere"),
    )
    assert done.code == 1
    assert 'Put data_dir = "/var/lib/lq"' in done.stderr


def test_without_systemd_nothing_is_written(tmp_path: Path) -> None:
    done = run_lq("service", "status", cwd=tmp_path, environ=environment(tmp_path))
    assert done.code == 1
    if Path("/run/systemd/system").is_dir():
        return  # it would be installed
    done = run_lq("service", "install", "--user", cwd=tmp_path, environ=environment(tmp_path))
    assert (done.code, "--print" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
