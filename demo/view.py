"""What a person sees of the demo: lines as things happen, and a table that stays up to date.

On a terminal both are live; elsewhere there are plain lines only, without control codes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lq import __version__

from .story import Job, now_ms
from .verdict import Check

_STATES = {
    "PENDING": ("◷ waits", "cyan"),
    "RUNNING": ("▶ runs", "bold blue"),
    "RETRY": ("↻ waits to retry", "yellow"),
    "COMPLETED": ("✔ completed", "bold green"),
    "FAILED": ("✘ failed", "bold red"),
}
_ROOMY = 104
"""From this many columns on there is room to say what each job shows."""

_NEXT = (
    ("make serve", "runs the daemon"),
    (".venv/bin/lq push --help", "shows how to push, in another terminal"),
)
_KINDS = {"push": "magenta", "HEAD": "blue", "call": "green", "fail": "yellow"}


class View:
    """The demo's way to its reader; `live` between `__enter__` and `__exit__`."""

    def __init__(self, console: Console | None = None) -> None:
        looking = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        if console is None and looking:
            console = Console(highlight=False)
        # Told that this is no terminal, rich does not ask FORCE_COLOR for its opinion.
        self.console = console or Console(
            force_terminal=False, color_system=None, highlight=False, soft_wrap=True
        )
        self._live = Live(console=self.console, auto_refresh=False)
        self._started = time.monotonic()

    def __enter__(self) -> View:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def opening(self) -> None:
        title = Text.assemble(("lq ", "bold"), (f"{__version__}", "dim"), ("  a demonstration"))
        self._say(title)
        self._say(
            Text("A real daemon, a real HTTP handler in a second process, four jobs.", style="dim")
        )
        self._say(Text())

    def scene(self, daemon: int, handler: int, url: str) -> None:
        self.event("ready", "daemon", f"lq serve, pid {daemon}, on a temporary folder")
        self.event("ready", "handler", f"{url}, pid {handler}")

    def event(self, kind: str, who: str, what: str) -> None:
        """One thing that has happened."""
        style = _KINDS.get(kind, "dim")
        self._say(
            Text.assemble(
                (f"{time.monotonic() - self._started:6.2f} s  ", "dim"),
                (f"{kind:<6}", style),
                (f"{who:<10}", "bold"),
                what,
            )
        )

    def told(self, told: dict[str, Any]) -> None:
        """What the handler says it saw."""
        if "proved" in told:
            self.event("HEAD", told["proved"][1:], "the handler proves that it knows the secret")
        elif "refused" in told:
            self.event("fail", told["refused"][1:], f"refused: {told['reason']}")
        else:
            well = told["status"] < 300
            self.event(
                "call" if well else "fail",
                told["called"][1:],
                f"attempt {told['attempt']}, signature ✔  → {told['status']} {told['said']}",
            )

    def show(self, jobs: Sequence[Job]) -> None:
        """Bring the table up to date."""
        if self._live.is_started:
            roomy = self.console.width >= _ROOMY
            self._live.update(_table(jobs, roomy=roomy), refresh=True)

    def closing(self, checks: Sequence[Check], seconds: float) -> None:
        """What was held to be true, and whether it was."""
        if self._live.is_started:
            self._live.stop()
        else:
            self._say(Text())
        for check in checks:
            if check.fault is None:
                self._say(Text.assemble(("✔ ", "bold green"), check.text))
            else:
                self._say(Text.assemble(("✘ ", "bold red"), (check.text, "bold")))
                self._say(Text(f"  {check.fault}", "red"))
        self._say(Text())
        faults = sum(check.fault is not None for check in checks)
        if faults:
            text = f"{faults} of {len(checks)} did not happen as promised."
            self._say(Text(text, "bold red"))
            return
        self._say(Text(f"All of it happened, in {seconds:.1f} s. Your turn:", "bold green"))
        for command, does in _NEXT:
            self._say(Text.assemble((f"  {command:<28}", "bold"), (does, "dim")))

    def trouble(self, reason: str) -> None:
        """Why the demo cannot go on."""
        self._say(Text(f"✘ {reason}", "bold red"))

    def _say(self, text: Text) -> None:
        self.console.print(text)


def _table(jobs: Sequence[Job], *, roomy: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True, header_style="dim")
    table.add_column("job", width=8)
    if roomy:
        table.add_column("which", width=26, style="dim")
    table.add_column("state", width=16)
    table.add_column("attempt", width=7)
    table.add_column("started", width=10)
    table.add_column("the handler said", no_wrap=True, ratio=1, overflow="ellipsis")
    for job in jobs:
        shows = [job.part.shows] if roomy else []
        name = Text(job.part.name, "bold")
        table.add_row(name, *shows, _state(job), _attempt(job), _started(job), _said(job))
    return table


def _state(job: Job) -> Text:
    word, style = _STATES.get(job.item.get("state", ""), ("", ""))
    return Text(word, style)


def _attempt(job: Job) -> Text:
    if not job.item:
        return Text()
    return Text(f"{max(1, job.item['attempts'])} of {job.item['maxAttempts']}")


def _started(job: Job) -> Text:
    """How late its last attempt started, or when the next one is due."""
    if job.item.get("state") in {"PENDING", "RETRY"}:
        left_ms = job.due_at(len(job.attempts) + 1) - now_ms()
        return Text(f"in {max(0, left_ms) / 1000:.1f} s", "cyan")
    if job.attempts:
        return Text(f"{job.late_ms(len(job.attempts))} ms late", "green")
    return Text()


def _said(job: Job) -> Text:
    answered = [one for one in job.attempts if "status" in one]
    if not answered:
        return Text()
    last = answered[-1]
    style = "green" if last["status"] < 300 else "yellow"
    return Text.assemble((str(last["status"]), style), f" {last.get('responseBody', '')}")
