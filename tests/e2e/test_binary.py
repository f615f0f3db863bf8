"""The single file of `make binary`, in an environment without any Python."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.e2e.endpoint import Endpoint
from tests.e2e.process import Daemon, wait_until
from tests.e2e.shell import completions

ROOT = Path(__file__).parents[2]
TOOLS = ("env", "id", "mkdir", "mktemp", "mv", "rm", "tail", "tar", "gzip", "sh")

pytestmark = pytest.mark.skipif(
    shutil.which("objdump") is None, reason="PyInstaller needs objdump, of binutils"
)


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file, as `make binary` builds it."""
    file = tmp_path_factory.mktemp("dist") / "lq"
    build = [sys.executable, str(ROOT / "packaging" / "build.py"), str(file)]
    done = subprocess.run(build, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment with a home and the few tools that any machine has; no Python."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": str(tools), "HOME": str(home)}


def run(binary: Path, environ: dict[str, str], *arguments: str) -> Any:
    return subprocess.run(
        [binary, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_unpacks_itself_once(binary: Path, bare: dict[str, str]) -> None:
    first = run(binary, bare, "--version")
    assert (first.returncode, first.stderr) == (0, "")
    cache = Path(bare["HOME"], ".cache", "lq")
    (unpacked,) = cache.iterdir()
    assert cache.stat().st_mode & 0o777 == 0o700
    before = unpacked.stat()
    assert run(binary, bare, "--version").stdout == first.stdout
    assert (unpacked.stat().st_ino, unpacked.stat().st_mtime_ns) == (
        before.st_ino, before.st_mtime_ns,
    )  # fmt: skip


def test_many_first_starts_at_once(binary: Path, bare: dict[str, str]) -> None:
    with ThreadPoolExecutor(6) as starts:
        done = [*starts.map(lambda _: run(binary, bare, "--version"), range(6))]
    assert {(one.returncode, one.stderr) for one in done} == {(0, "")}
    assert len([*Path(bare["HOME"], ".cache", "lq").iterdir()]) == 1


def test_a_home_that_cannot_be_written(binary: Path, bare: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    homeless = {**bare, "HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "tmp")}
    done = run(binary, homeless, "cron", "@daily", "--tz", "Europe/Berlin")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "tmp" / f"lq-{os.getuid()}").is_dir()


def test_nowhere_to_unpack_is_said(binary: Path, bare: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = {**bare, "HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "file")}
    done = run(binary, nowhere, "--version")
    assert done.returncode == 73
    assert "XDG_CACHE_HOME" in done.stderr


def test_a_folder_of_somebody_else_is_not_used(
    binary: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tmp").mkdir()
    cache = Path(bare["HOME"], ".cache")
    cache.mkdir()
    (cache / "lq").symlink_to(tmp_path / "elsewhere")
    done = run(binary, {**bare, "TMPDIR": str(tmp_path / "tmp")}, "--version")
    assert done.returncode == 0
    assert [*(tmp_path / "elsewhere").iterdir()] == []


def test_a_day_of_the_single_file(
    binary: Path, start: Start, endpoint: Endpoint, bare: dict[str, str]
) -> None:
    """Serve, push, a schedule in a zone, a scriptlet with a clean environment, reload, stop."""
    config = (
        '[scriptlets.shows]\ncommand = ["/usr/bin/env"]\n[[schedules]]\nkey = "berlin"\n'
        f'schedule = "@daily"\ntimezone = "Europe/Berlin"\nqueue = "q"\n'
        f'target = "{endpoint.url("/tick")}"\n'
    )
    daemon = start(config, environ=bare | {"LQ_CANARY": ""}, program=str(binary))
    pushed = daemon.cli("push", "--queue", "q", "--target", endpoint.url(), "--data", "hi")
    assert (pushed.code, pushed.stderr) == (0, "")
    assert endpoint.next().body == b"hi"
    assert "Europe/Berlin" in daemon.cli("schedules", "ls").stdout
    ran = daemon.cli("run", "shows")
    assert (ran.code, ran.stderr) == (0, "")
    names = {line.partition("=")[0] for line in ran.stdout.splitlines()}
    assert "LQ_ITEM_ID" in names
    assert not {name for name in names if name.startswith(("_", "LD_", "PY", "LQ_STARTED"))} - {"_"}
    daemon.send(signal.SIGHUP)
    daemon.wait_for("SIGHUP: ")
    assert daemon.cli("items", "ls", "-q").stdout == ""
    assert str(binary) in daemon.stderr or "\n  lq " in daemon.stderr  # what to type next
    link = daemon.cli("panel", "--print").stdout.partition("#")[0]
    with urllib.request.urlopen(link) as login:
        assert b"Log in" in login.read()
    assert daemon.stop().code == 0


def test_it_survives_kill_9_as_any_lq(
    binary: Path, start: Start, endpoint: Endpoint, bare: dict[str, str]
) -> None:
    daemon = start(environ=bare, program=str(binary))
    item = daemon.client.push("q", b"", target=endpoint.url(), delay_ms=1000)
    daemon.kill()
    daemon.start()
    wait_until(lambda: finished(daemon, item["id"]))


def finished(daemon: Daemon, item: str) -> bool:
    return bool(daemon.client.item(item)["state"] == "COMPLETED")


def test_the_unit_starts_the_file_and_not_what_it_unpacked(
    binary: Path, bare: dict[str, str]
) -> None:
    unit = run(binary, bare, "service", "install", "--user", "--print")
    assert unit.returncode == 0, unit.stderr
    assert f"ExecStart={binary} serve" in unit.stdout


def test_a_shell_completes_its_commands(binary: Path, bare: dict[str, str], tmp_path: Path) -> None:
    offered = completions(str(binary), "lq qu", bare, tmp_path)
    assert offered == ["queues"]
