"""The systemd unit: systemd itself finds nothing wrong with it, and little that is exposed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lq.commands.service import check_reachable
from lq.errors import LqError
from lq.takeover.units import Unit, commands, last, parse
from lq.unit import DROP_IN, MARK, NAME, Needs, Service, drop_in, quoted, unit

ORACLE = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
SERVICE = Service(
    command=(sys.executable, "-m", "lq"),
    config=Path("/etc/lq/lq.toml"),
    data_dir=Path("/var/lib/lq"),
    user="root",  # a user that there is, for `verify`
)


def analyze(folder: Path, *words: str) -> tuple[int, str]:
    """Ask systemd about the units of a folder."""
    done = subprocess.run(
        ["systemd-analyze", *words],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:", "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def write(folder: Path, service: Service, needs: Needs | None = None) -> Path:
    path = folder / NAME
    path.write_text(unit(service))
    if needs is not None:
        (folder / f"{NAME}.d").mkdir()
        (folder / f"{NAME}.d" / DROP_IN).write_text(drop_in(needs, system=service.user is not None))
    return path


def of(text: str, name: str) -> str | None:
    read: Unit = parse(text)
    return last(read, "Service", name)


@ORACLE
@pytest.mark.parametrize("needs", [None, Needs(), Needs(others=True)])
@pytest.mark.parametrize("user", ["root", None])
def test_systemd_finds_nothing_wrong(tmp_path: Path, needs: Needs | None, user: str | None) -> None:
    service = Service(
        command=SERVICE.command, config=SERVICE.config, data_dir=SERVICE.data_dir, user=user
    )
    path = write(tmp_path, service, needs)
    manager = [] if user else ["--user"]
    assert analyze(tmp_path, *manager, "verify", str(path)) == (0, "")


@ORACLE
@pytest.mark.parametrize(("needs", "most"), [(None, 2.0), (Needs(), 6.0)])
def test_systemd_finds_little_exposed(tmp_path: Path, needs: Needs | None, most: float) -> None:
    path = write(tmp_path, SERVICE, needs)
    code, said = analyze(tmp_path, "security", "--offline=true", "--no-pager", str(path))
    assert code == 0, said
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) <= most


def test_how_it_is_run() -> None:
    text = unit(SERVICE)
    assert text.startswith(MARK)
    (command,) = commands(of(text, "ExecStart") or "")
    assert command.words == (*SERVICE.command, "serve", "--config", "/etc/lq/lq.toml")
    assert of(text, "Type") == "notify"
    assert of(text, "ExecReload") == "/bin/kill -HUP $MAINPID"
    assert of(text, "LimitCORE") == "0"
    assert of(text, "WatchdogSec") == "30"
    assert of(text, "TimeoutStopSec") == "60"
    assert of(text, "StateDirectory") == "lq"
    assert of(text, "IPAddressDeny") == "link-local multicast"


def test_what_depends_on_the_configuration() -> None:
    text = unit(
        Service(
            command=("/root/.local/bin/lq",),
            config=None,
            data_dir=Path("/srv/lq data"),
            user="lq",
            drain_ms=90_500,
            low_port=True,
            seen_home=True,
            link_local=True,
            credential="lq-key",
        )
    )
    assert of(text, "StateDirectory") is None
    assert of(text, "ReadWritePaths") == '"/srv/lq data"'
    assert of(text, "TimeoutStopSec") == "121"
    assert of(text, "AmbientCapabilities") == "CAP_NET_BIND_SERVICE"
    assert of(text, "ProtectHome") == "read-only"
    assert of(text, "IPAddressDeny") is None
    credential = "lq-key:/etc/credstore.encrypted/lq-key"
    assert of(text, "LoadCredentialEncrypted") == credential
    assert of(text, "ExecStart") == "/root/.local/bin/lq serve"


def test_scriptlets_of_others_need_root() -> None:
    assert of(drop_in(Needs(others=True), system=True), "User") == "root"
    assert of(drop_in(Needs(), system=True), "User") is None
    assert of(drop_in(Needs(), system=True), "ProtectSystem") == "full"
    assert "User=" not in drop_in(Needs(others=True), system=False)


def test_an_lq_that_its_user_cannot_get_at_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "home" / "ada"
    closed.mkdir(parents=True)
    closed.chmod(0o700)
    check_reachable([closed / "lq"], 0, "root")
    with pytest.raises(LqError, match="closed to lq"):
        check_reachable([closed / "lq"], closed.stat().st_uid + 12345, "lq")


@pytest.mark.parametrize(
    "words", [("/a b/lq",), ("/a%i",), ("/a$HOME", 'b"c', "d\\e", "f'g", "", "h;i", ";")]
)
def test_command_lines_are_taken_apart_as_they_were(words: tuple[str, ...]) -> None:
    (command,) = commands(quoted(words))
    read = tuple(word.replace("%%", "%").replace("$$", "$") for word in command.words)
    assert read == words
