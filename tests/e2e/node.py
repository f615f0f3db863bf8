"""An application in node that uses the published JavaScript SDK (`sdk/driver.mjs`)."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from .process import PATIENCE_S

SOURCE = Path(__file__).with_name("sdk")
_PACKAGES = ("package.json", "package-lock.json")

Json = dict[str, Any]


class NotInstalled(Exception):
    """What npm would install cannot be had here."""


class Failed(NamedTuple):
    """What the SDK threw. `kind` is the name of its class, as `instanceof` finds it."""

    kind: str
    message: str
    status: int | None
    issues: list[Json] | None


def install(folder: Path) -> None:
    """Put the SDK and its driver into a folder that is kept between runs. Raises: NotInstalled."""
    install_packages(SOURCE, folder)
    shutil.copy(SOURCE / "driver.mjs", folder)


def install_packages(source: Path, folder: Path) -> None:
    """Install what the lock file of `source` names into a folder that is kept between runs.

    Raises: NotInstalled without node, npm, or a registry to install from.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NotInstalled("node and npm are not installed")
    installed = folder / "node_modules" / "installed"
    wanted = "".join((source / name).read_text() for name in _PACKAGES)
    if installed.exists() and installed.read_text() == wanted:
        return
    for name in _PACKAGES:
        shutil.copy(source / name, folder)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(f"npm ci failed: {done.stderr}")
    installed.write_text(wanted)


class Node:
    """The application, running while the context is open."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.events: queue.Queue[Json] = queue.Queue()
        self._answers: queue.Queue[Json] = queue.Queue()
        self._number = 0
        self._process = subprocess.Popen(
            ["node", "driver.mjs"],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)

    def call(self, call: str, **options: Any) -> Any:
        """Have it call the SDK: what that gave, or how it Failed."""
        self._number += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": self._number, "call": call, **options}))
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answers.get(timeout=PATIENCE_S)
        assert answer.get("number") == self._number, answer
        if (error := answer.get("error")) is not None:
            return Failed(error["is"], error["message"], error.get("status"), error.get("issues"))
        return answer.get("value")

    def handled(self) -> Json:
        """The next item that one of its handlers was given."""
        return self.next("handled")

    def next(self, kind: str) -> Json:
        """The next event of a kind; others before it are dropped."""
        while kind not in (event := self.events.get(timeout=PATIENCE_S)):
            assert "ended" not in event, "node has ended"
        return event

    def nothing_happened(self) -> bool:
        return self.events.empty()

    def __enter__(self) -> Node:
        self._reader.start()
        try:
            self.next("listening")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                event = json.loads(line)
                (self._answers if "number" in event else self.events).put(event)
        self.events.put({"ended": True})
        self._answers.put({"ended": True})
