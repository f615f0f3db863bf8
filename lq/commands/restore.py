"""`lq restore`: put a backup in the place of the database, and say what that means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lq.client import Json
from lq.commands import common
from lq.commands.common import AsJson, ConfigFile, note, out_json

if TYPE_CHECKING:
    from lq.backups import Account, Listed, Missed

app = common.app()


@app.command()
def restore(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `lq backup` has written.")],
    hold: Annotated[
        bool, typer.Option("--hold", help="Start frozen: nothing runs until `lq release`.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only say what it would mean.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Put a backup in the place of the database.

    The daemon must be stopped. The file is checked first, and the database that was there is
    kept under another name. It says what will run again, what was missed and what is lost by
    going back; --json lists those jobs.
    """
    from lq.daemon import restore as daemon
    from lq.paths import places, read_config

    folder = places(read_config(config, os.environ), os.environ).data_dir
    account = daemon.restore(folder, file, common.now(), hold=hold, dry=dry_run)
    if as_json:
        out_json(_as_json(account, folder))
        return
    for line in _lines(account, folder):
        note(line)
    if dry_run:
        note("Nothing has been changed: this is a dry run.")


def _lines(account: Account, folder: Path) -> Iterator[str]:
    from lq.render import clean
    from lq.when import format_instant

    moment = format_instant(account.backup_at)
    at = f"of {moment}" if account.exact else f"of {moment} or later (it does not say)"
    rows = ", ".join(f"{number} {name}" for name, number in account.rows.items())
    yield f"The backup is {at}: {rows}."
    if account.kept is not None:
        yield f"The database that was there is kept as {account.kept}."
    yield f"Were running, and run again: {account.running.count}."
    yield (
        f"Wait: {account.waiting}, of them due by now: {account.overdue}"
        f", expired by now: {account.expired}."
    )
    for missed in account.missed:
        yield _missed_line(missed)
    if account.uncompared is not None:
        yield f"What was done since is not known: {clean(account.uncompared)}."
    else:
        yield f"Have ended since, and run again: {account.finished.count}."
        yield f"Were pushed since, and are lost by going back: {account.lost.count}."
    if not (folder / "secret").exists():
        yield (
            f"There is no signing secret in {folder}: put yours back before the start, or handlers"
            " will refuse the new one that lq makes."
        )
    if account.held:
        yield "It starts frozen: nothing runs and no schedule fires until `lq release`."


def _missed_line(missed: Missed) -> str:
    from lq.render import clean

    name = clean(missed.name)
    if missed.problem is not None:
        return f"Schedule {name} will be paused: {clean(missed.problem)}."
    return (
        f"Schedule {name} has missed {missed.times}; by its misfire policy {missed.misfire} that"
        f" makes {missed.runs} of its jobs."
    )


def _as_json(account: Account, folder: Path) -> Json:
    from lq.when import format_instant

    answer: Json = {
        "backup": format_instant(account.backup_at),
        "exact": account.exact,
        "held": account.held,
        "rows": dict(account.rows),
        "running": _listed(account.running),
        "waiting": account.waiting,
        "overdue": account.overdue,
        "expired": account.expired,
        "missed": [
            {
                "schedule": missed.name,
                "misfire": str(missed.misfire),
                "times": missed.times,
                "runs": missed.runs,
                **({} if missed.problem is None else {"problem": missed.problem}),
            }
            for missed in account.missed
        ],
        "secret": (folder / "secret").exists(),
    }
    if account.uncompared is None:
        answer |= {"finishedSince": _listed(account.finished), "lost": _listed(account.lost)}
    else:
        answer["uncompared"] = account.uncompared
    return answer if account.kept is None else {**answer, "kept": str(account.kept)}


def _listed(listed: Listed) -> Json:
    return {"count": listed.count, "items": [dict(job) for job in listed.jobs]}
