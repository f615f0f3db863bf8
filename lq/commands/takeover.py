"""`lq import`: take over what cron and systemd's timers run on this machine.

Owns: the order of a takeover. First lq.toml is written, whole and valid; then the daemon follows
it; only then, and only if it does, the old lines are switched off.

Invariant: nothing is switched off that lq does not run, and nothing is said to be taken over that
still runs twice.
"""

from __future__ import annotations

import os
from shlex import quote
from typing import Annotated

import typer

from lq.commands import common
from lq.commands.common import AsJson, ConfigFile, note, now

app = common.app(help="Take over what cron and systemd's timers run.")

_JOBS = "How the jobs run"
_OLD = "The old crontab"

DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would be written.")]
Apply = Annotated[bool, typer.Option("--apply", help="Have the daemon follow it at once.")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Also over what was edited by hand, and drop jobs whose line is gone."
    ),
]
Zone = Annotated[
    str | None,
    typer.Option("--tz", metavar="ZONE", parser=common.zone, help="If not this machine's."),
]
Queue = Annotated[
    str | None,
    typer.Option(
        "--queue", metavar="QUEUE", help="Where to push, else cron.", rich_help_panel=_JOBS
    ),
]
Misfire = Annotated[
    str | None,
    typer.Option(
        metavar="once|skip|all",
        help="What becomes of missed times, else skip.",
        rich_help_panel=_JOBS,
    ),
]
Retry = Annotated[
    str | None,
    typer.Option(metavar="N|WAITS", help='As in 3, or "1m,10m,1h"; else 0.', rich_help_panel=_JOBS),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION", help="The most a run may take, else 24h.", rich_help_panel=_JOBS
    ),
]


@app.command()
def crontab(
    *,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]", help="A crontab, - for stdin, none for your own.", show_default=False
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="USER", help="Whose crontab it is.")
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="Lines name a user, as in /etc/crontab.")
    ] = False,
    dry_run: DryRun = False,
    apply: Apply = False,
    disable_old: Annotated[
        bool,
        typer.Option(
            "--disable-old",
            help="Comment out the lines that lq runs now.",
            rich_help_panel=_OLD,
        ),
    ] = False,
    undo: Annotated[
        bool,
        typer.Option(
            "--undo",
            help="Give all back to cron: the lines, and what lq.toml has of them.",
            rich_help_panel=_OLD,
        ),
    ] = False,
    queue: Queue = None,
    misfire: Misfire = None,
    retry: Retry = None,
    timeout: Timeout = None,
    tz: Zone = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Write the jobs of a crontab into lq.toml, and say what cron keeps.

    /etc/crontab and the files of /etc/cron.d are known to name a user in each line. By default a
    job runs as under cron: what is missed is not made up for, nothing is retried.
    """
    from lq.commands import takeover_sources as sources
    from lq.commands import takeover_steps as steps
    from lq.takeover import compare, fromcron
    from lq.takeover.crontab import parse
    from lq.takeover.job import Rule

    source = sources.crontab(file, user, system=system)
    path = sources.config_file(config, os.environ)
    machine = steps.find_machine(path, tz)
    text = source.read()
    if undo:
        how = steps.Undo(dry_run=dry_run, apply=apply, overwrite=overwrite)
        steps.undo(source, text, path, how, config)
        return
    if disable_old and source.piped is not None:
        raise typer.BadParameter("--disable-old needs a crontab to change: name its file")
    read = parse(text, system=source.owner is None)
    found = fromcron.jobs(read, source.name, source.owner, machine)
    options = steps.Options(queue, retry, timeout, misfire)
    plan = steps.make_plan(path, source.name, found, options, overwrite=overwrite)

    def old(rule: Rule) -> list[int]:
        return compare.of_cron(rule, machine.zone, now(), 5)

    steps.show(plan, found, old, who="cron", as_json=as_json)
    if dry_run:
        note(f"Nothing was written to {path}: this is a dry run.")
        return
    written_at = steps.write(plan, config, apply=apply)
    waiting = [one for one in plan.jobs if one.job.line not in steps.off_lines(read)]
    if not disable_old:
        if waiting:
            piped = source.piped is not None
            steps.warn_of_both(plan, len(waiting), piped=piped, applied=apply)
        return
    steps.check_followed(plan.jobs, config)
    steps.disable(source, text, {one.job.line for one in plan.jobs}, path)
    steps.tell_of_doubles(waiting, written_at)


@app.command("systemd-timer")
def systemd_timer(
    *,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="UNIT...",
            help="As in backup.timer, or the path of a timer's file.",
            show_default=False,
        ),
    ],
    user: Annotated[bool, typer.Option("--user", help="Units of your own manager.")] = False,
    dry_run: DryRun = False,
    apply: Apply = False,
    queue: Queue = None,
    retry: Retry = None,
    timeout: Timeout = None,
    tz: Zone = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Write systemd's timers with their services into lq.toml.

    Persistent= decides whether missed times are made up for, and no run meets the one before, as
    under systemd.
    """
    from lq.commands import takeover_sources as sources
    from lq.commands import takeover_steps as steps
    from lq.takeover import fromtimer
    from lq.takeover.job import Rule

    path = sources.config_file(config, os.environ)
    machine = steps.find_machine(path, tz)
    options = steps.Options(queue, retry, timeout)

    def old(rule: Rule) -> list[int] | None:
        name, _, event = rule.source.partition("=")
        if name != "OnCalendar":
            return None
        return sources.systemd_runs(event, machine.zone, now(), 5)

    taken: list[str] = []
    for given in names:
        name = given if given.endswith(".timer") else f"{given}.timer"
        timer = sources.units(name, user=user)
        service = sources.beside(name, fromtimer.service_of(timer), user=user)
        found = fromtimer.jobs(timer, service, machine, of_user=user)
        origin = f"systemd-timer {timer.name}"
        plan = steps.make_plan(path, origin, found, options, overwrite=overwrite)
        steps.show(plan, found, old, who="systemd", as_json=as_json)
        if not dry_run:
            steps.write(plan, config, apply=apply)
        if plan.jobs:
            taken.append(timer.name)
    if dry_run:
        note(f"Nothing was written to {path}: this is a dry run.")
    elif taken:
        manager = "systemctl --user" if user else "systemctl"
        note(
            f"systemd still runs {'it' if len(taken) == 1 else 'them'}, too. When lq does"
            f" (`lq schedules ls`): {manager} disable --now {' '.join(map(quote, taken))}"
        )
