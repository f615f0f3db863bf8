"""The steps of `lq import`: plan, write, apply, switch off, give back.

Owns: what each step refuses to do before the one ahead of it is done. The order is `takeover`'s.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import typer
from msgspec.structs import replace

from lq import firing, toml
from lq.client import ApiError, Client, Json, Unreachable
from lq.commands import common, takeover_report
from lq.commands import takeover_sources as sources
from lq.commands.common import note, now, out_json
from lq.config import load
from lq.errors import ConfigError, LqError
from lq.takeover import block, files, switch
from lq.takeover.block import Named, Settings
from lq.takeover.crontab import Crontab
from lq.takeover.fromcron import Machine
from lq.takeover.job import Found, Rule


class Plan(NamedTuple):
    """What a takeover makes of lq.toml. Shape: `gone` are jobs that it would lose unasked."""

    path: Path
    source: str
    before: bytes
    after: bytes
    settings: Settings
    jobs: tuple[Named, ...]
    gone: tuple[str, ...] = ()


def find_machine(path: Path, tz: str | None) -> Machine:
    """What decides how jobs run here. Raises: ConfigError when lq.toml is wrong already."""
    given = str(path) if path.exists() else None
    data_dir = load(given, os.environ).data_dir
    zone = tz or common.local_zone()
    if zone is None:
        note("note: the time zone of this machine cannot be told, so UTC is taken; --tz names it.")
    return Machine(zone or "UTC", sources.runs_as(data_dir), sources.home, sources.missing)


class Options(NamedTuple):
    """What was asked for of how jobs run; None is left as it is."""

    queue: str | None
    retry: str | None
    timeout: str | None
    misfire: str | None = None

    def over(self, settings: Settings) -> Settings:
        """These settings, but for what was asked for. Raises: BadParameter."""
        if self.misfire not in {None, "once", "skip", "all"}:
            raise typer.BadParameter("--misfire is once, skip or all")
        if self.timeout is not None:
            common.duration(self.timeout)
        given = {name: value for name, value in self._asdict().items() if value is not None}
        return replace(settings, **given)


def make_plan(path: Path, source: str, found: Found, options: Options, *, overwrite: bool) -> Plan:
    """What lq.toml will be. Raises: Edited, ConfigError; nothing is written yet."""
    before = files.read(path)
    try:
        text = before.decode("utf-8")
        if not overwrite:
            block.check_untouched(text, source)
        settings = options.over(block.settings_in(text, source))
        jobs = block.names(found.jobs, text, source)
        after = block.place(text, source, jobs, settings)
        toml.parse(after.removeprefix("\ufeff"))
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    except toml.NotToml as error:
        raise ConfigError(
            f"{path} has no place for [[schedules]] at its end: {error}",
            hint="Write schedules and scriptlets as tables of their own, [[schedules]].",
        ) from None
    gone = () if overwrite else tuple(block.lost(text, source, jobs))
    return Plan(path, source, before, after.encode(), settings, jobs, gone)


def show(plan: Plan, found: Found, old: takeover_report.Old, *, who: str, as_json: bool) -> None:
    """Say what of a source becomes what, for people or for programs."""
    if as_json:
        shown = takeover_report.as_json(plan.jobs, found, old)
        out_json({"file": str(plan.path), "changes": plan.after != plan.before, **shown})
        return
    takeover_report.show(plan.jobs, found, plan.settings, old, who=who)
    if not plan.jobs:
        note(f"There is nothing in {plan.source} that lq can take over.")


def write(plan: Plan, config: str | None, *, apply: bool) -> int:
    """Write lq.toml if it changes, and have the daemon follow if that is wanted; when it did.

    Raises: LqError when jobs would go with it, ConfigError when lq would refuse the file.
    """
    if plan.gone:
        raise LqError(
            f"nothing was written: {', '.join(plan.gone)} of {plan.path} would go, since"
            f" the {plan.source} has no such line any more",
            hint="Move the tables out of the block to keep them, or let --overwrite drop them.",
        )
    if plan.after == plan.before:
        note(f"{plan.path} needs no change.")
    else:

        def check(new: Path) -> None:
            try:
                load(str(new), os.environ)
            except ConfigError as error:
                real = error.message.replace(str(new), str(plan.path))
                raise ConfigError(
                    f"nothing was written, since lq would refuse it: {real}", hint=error.hint
                ) from None

        plan.path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(plan.path, plan.before, plan.after, check)
        count = len(plan.jobs)
        did = f"Wrote {count} jobs of {plan.source} to" if count else "Took all out of"
        note(f"{did} {plan.path}.")
    if apply:
        follow(config)
    return now()


def follow(config: str | None) -> None:
    """Have the daemon read lq.toml again. Raises: LqError when it cannot follow all of it."""
    answer: Json = common.connect(config, None, None).reload()
    conflicts = [c["key"] for c in answer["schedules"] if c["change"] == "conflict"]
    if conflicts:
        raise LqError(f"not all was applied: {', '.join(conflicts)} is taken; see `lq apply -n`")
    note("The daemon follows it.")
    if answer["restart"]:
        note(f"These settings wait for a restart: {', '.join(answer['restart'])}.")


def check_followed(jobs: Sequence[Named], config: str | None) -> None:
    """Raise unless the daemon has each schedule, as it was written."""
    client: Client = common.connect(config, None, None)
    hint = "Nothing was switched off. Say --apply, or `lq apply` first."
    try:
        there = {one.get("key"): one for one in common.listing(client.schedules, None, True)}
    except (ApiError, Unreachable) as error:
        raise LqError(f"the old lines stay: {error.message}", hint=hint) from None
    for named in jobs:
        for key, rule in zip(named.keys, named.job.rules, strict=True):
            if why := _missing(there.get(key), rule, f"scriptlet:{named.name}"):
                raise LqError(f"the old lines stay: {key} {why}", hint=hint)


def _missing(schedule: Json | None, rule: Rule, target: str) -> str | None:
    """Why a schedule of the daemon is not the one that was written; None if it is."""
    if schedule is None:
        return "is not among the daemon's schedules yet"
    if schedule["schedule"] != rule.rule or schedule["timezone"] != rule.zone:
        return "has another time in the daemon"
    if (schedule["target"] or {}).get("url") != target:
        return "does something else in the daemon"
    return "is paused" if schedule["paused"] else None


def off_lines(read: Crontab) -> set[int]:
    """The lines that are switched off already."""
    return {entry.line for entry in read.entries if entry.off}


def disable(source: sources.Source, before: bytes, lines: set[int], config: Path) -> None:
    """Switch the lines off, with a copy of what was there."""
    after = switch.off(before, lines)
    if after == before:
        note(f"Nothing of the {source.name} was left to switch off.")
        return
    saved = source.saved(config.parent)
    number = 1
    while saved.exists() and saved.read_bytes() != before:
        number += 1
        saved = saved.with_name(f"{source.saved(config.parent).name}-{number}")
    if not saved.exists():
        files.keep(saved, before)
    source.write(before, after)
    note(f"Switched off {_count(before, after)} lines of the {source.name}; a copy is {saved}.")


def _count(before: bytes, after: bytes) -> int:
    pairs = zip(before.split(b"\n"), after.split(b"\n"), strict=True)
    return sum(one != other for one, other in pairs)


class Undo(NamedTuple):
    """The options of `--undo`."""

    dry_run: bool
    apply: bool
    overwrite: bool


def undo(source: sources.Source, text: bytes, path: Path, how: Undo, config: str | None) -> None:
    """Give a crontab back to cron: out of lq.toml first, then the lines on again."""
    plan = make_plan(path, source.name, Found(), Options(None, None, None), overwrite=how.overwrite)
    plan = plan._replace(gone=())  # which is what is asked for
    back = switch.on(text)
    if how.dry_run:
        note(f"Would switch on {_count(text, back)} lines of the {source.name}.")
        return
    if plan.after != plan.before:
        write(plan, config, apply=how.apply)
    if back != text:
        source.write(text, back)
        note(f"Switched on {_count(text, back)} lines of the {source.name} again.")
        _drop_copies(source, path.parent, back)
    else:
        note(f"No line of the {source.name} was switched off.")
    if plan.after != plan.before and not how.apply:
        note("lq still runs the jobs, too, until `lq apply`.")


def _drop_copies(source: sources.Source, beside: Path, back: bytes) -> None:
    """Remove the copy that the crontab is equal to again; keep one that it is not."""
    saved = source.saved(beside)
    if saved.exists() and saved.read_bytes() == back:
        saved.unlink()
    elif saved.exists():
        note(f"It has changed since: what it was is in {saved}.")


def warn_of_both(plan: Plan, waiting: int, *, piped: bool, applied: bool) -> None:
    """Say that jobs run twice, or would, and what to type to hand them over."""
    if piped:
        note("Take the lines out of cron once lq runs them, or they run twice.")
        return
    again = [word for word in sys.argv[1:] if word != "--apply"]
    typed = shlex.join(["lq", *again, "--apply", "--disable-old"])
    if applied:
        note(f"{waiting} jobs run twice now, in lq and in cron. To hand them over: {typed}")
    else:
        note(f"cron runs them, and lq once it has read {plan.path}. To hand them over: {typed}")


def tell_of_doubles(jobs: Sequence[Named], since: int) -> None:
    """Name the jobs that came due while both ran."""
    for named in jobs:
        for rule in named.job.rules:
            (first, *_) = [*firing.times(rule.rule, rule.zone, since - 1000, 1), now() + 1]
            if first <= now():
                note(f"{named.name} came due in between, so it may have run twice just now.")
