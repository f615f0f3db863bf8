"""Run the demo: set the stage, push, look on, judge."""

from __future__ import annotations

import io
import signal
import sys
import time
from typing import Any

from lq.errors import LqError

from .stage import Stage, Trouble
from .story import PARTS, Job
from .verdict import judge
from .view import View

MOST_S = 15.0
"""What the whole story may take; it needs about four seconds."""

INTERRUPTED = 130
_LOOK_EVERY_S = 0.08


def main() -> int:
    """The whole demo; the exit code of the process."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    view = View()
    try:
        with view:
            return _play(view)
    except (Trouble, LqError) as error:
        view.trouble(str(error))
        return 1
    except KeyboardInterrupt:
        view.trouble("interrupted; nothing is left behind")
        return INTERRUPTED


def _play(view: View) -> int:
    started = time.monotonic()
    jobs = [Job(part) for part in PARTS]
    told: list[dict[str, Any]] = []
    view.opening()
    with Stage() as stage:
        view.scene(stage.daemon.pid, stage.handler.pid, stage.url(""))
        for job in jobs:
            for pushing in job.part.pushes:
                job.push(pushing, stage.client, stage.url(job.part.path))
                view.event("push", job.part.name, pushing.does)
        while not all(job.finished for job in jobs) and time.monotonic() - started < MOST_S:
            stage.watch()
            for job in jobs:
                job.look(stage.client)
            _listen(stage, told, view)
            view.show(jobs)
            time.sleep(_LOOK_EVERY_S)
        stopped = stage.stop()
        _listen(stage, told, view)
    checks = judge(jobs, told, stopped)
    view.closing(checks, time.monotonic() - started)
    return 0 if all(check.fault is None for check in checks) else 1


def _listen(stage: Stage, told: list[dict[str, Any]], view: View) -> None:
    """Take in what the handler has said."""
    while not stage.told.empty():
        one = stage.told.get()
        told.append(one)
        view.told(one)


if __name__ == "__main__":
    sys.exit(main())
