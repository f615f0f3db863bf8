"""lq installed from the checkout by the tools that people have, and what is in its packages."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMITTED = subprocess.run(
    ["git", "ls-files", "lq"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()


def call(*command: str | Path, **environ: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environ, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pipx and uv are, newly installed."""
    folder = tmp_path_factory.mktemp("tools")
    call(sys.executable, "-m", "venv", folder)
    call(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "pipx", "uv")
    return folder / "bin"


def test_uv_installs_it(tools: Path, tmp_path: Path) -> None:
    places = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    call(tools / "uv", "tool", "install", "--quiet", "--python", sys.executable, ROOT, **places)
    works(tmp_path / "bin" / "lq", tmp_path)


def test_pipx_installs_it(tools: Path, tmp_path: Path) -> None:
    places = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    call(tools / "pipx", "install", "--quiet", "--python", sys.executable, ROOT, **places)
    works(tmp_path / "bin" / "lq", tmp_path)


def works(lq: Path, home: Path) -> None:
    """It is there, knows time zones, and has all that a daemon loads at its start."""
    environ = {"HOME": str(home), "LQ_DATA_DIR": str(home / "data"), "LQ_LISTEN": "127.0.0.1:0"}
    assert "Europe/Berlin" in call(lq, "cron", "@daily", "--tz", "Europe/Berlin", **environ)
    with subprocess.Popen(
        [lq, "serve"], stderr=subprocess.PIPE, text=True, env=os.environ | environ
    ) as daemon:
        assert daemon.stderr is not None
        assert " is ready (pid" in daemon.stderr.readline()
        call(lq, "push", "--queue", "q", "--target", "https://example.com", "--delay", "1h",
             **environ)  # fmt: skip
        daemon.terminate()
        daemon.stderr.read()
    assert daemon.returncode == 0


def test_the_packages_hold_all_of_lq_and_nothing_else(tools: Path, tmp_path: Path) -> None:
    call(tools / "uv", "build", "--quiet", "--python", sys.executable, "--out-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    (source,) = tmp_path.glob("*.tar.gz")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == set(COMMITTED)
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {*COMMITTED, "pyproject.toml", "README.md", "LICENSE"}
