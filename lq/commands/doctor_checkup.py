"""What the doctor makes of a daemon's check-up: database, machine and targets.

Owns the bounds between well, a warning, and wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from lq.checkup import is_short, size_text
from lq.client import ApiError, Client, Json, Unreachable
from lq.commands.finding import Finding

_MUCH_WAL = 256 << 20
_LAG_WARNING_MS, _LAG_WRONG_MS = 250, 1000
_FILES_SHARE = 0.8


def examine(client: Client, *, deep: bool) -> Iterator[Finding]:
    """The findings of a check-up; none for a token that is no admin's."""
    try:
        found = client.checkup(deep=deep)
    except (ApiError, Unreachable) as error:
        if isinstance(error, ApiError) and error.status in {401, 403}:
            return
        yield Finding("check-up", error.message, error.hint or "See what the daemon's log says.")
        return
    yield from _database(found["database"])
    yield from _disk(found["disk"], found["database"])
    yield from _files(found["files"])
    yield _loop(found["loopLagMs"])
    yield Finding("time zones", f"version {found['timeZones']}")
    yield from _targets(found)
    yield from _scriptlets(client.scriptlets())
    if public := found.get("publicUrl"):
        fault = public.get("fault")
        cure = "Handlers that call back need it: see public_url, and the proxy in front of lq."
        text = f"{public['url']} {f'cannot be reached from here: {fault}' if fault else 'answers'}"
        yield Finding("public_url", text, cure if fault else None, warning=True)


def _database(database: Json) -> Iterator[Finding]:
    how = "whole, its indexes too" if database["deep"] else "whole"
    if fault := database.get("fault"):
        cure = "Stop lq, keep the file, and restore a backup: `lq restore FILE`."
        yield Finding("database", f"it is damaged: {fault}", cure)
    else:
        yield Finding("database", f"{size_text(database['size'])}, {how}")
    if database["walSize"] > max(_MUCH_WAL, database["size"]):
        text = f"its log has grown to {size_text(database['walSize'])}"
        yield Finding("database", text, "Something reads it for very long; end that.", warning=True)


def _disk(disk: Json, database: Json) -> Iterator[Finding]:
    free, total = disk["free"], disk["total"]
    if is_short(free, total, database["size"]):
        text = f"only {size_text(free)} of {size_text(total)} are free where lq keeps its data"
        yield Finding("disk", text, "Make room, or keep history for a shorter time.", warning=True)


def _files(files: Json) -> Iterator[Finding]:
    limit, wanted = files["limit"], files["wanted"]
    check = "open files"
    if limit >= 0 and files["open"] > _FILES_SHARE * limit:
        cure = "Raise the limit: LimitNOFILE= in the unit, or ulimit -n."
        yield Finding(check, f"{files['open']} of at most {limit} are open", cure)
    elif 0 <= limit < wanted:
        text = f"at most {limit} may be open, and {wanted} might be"
        cure = "Raise the limit: LimitNOFILE= in the unit, or ulimit -n."
        yield Finding(check, text, cure, warning=True)
    else:
        yield Finding(check, f"{files['open']} of at most {limit}")


def _loop(lag_ms: int) -> Finding:
    text = f"the daemon answers within {lag_ms} ms of its time"
    cure = "The machine is too busy, or the disk too slow: see top and iostat."
    if lag_ms < _LAG_WARNING_MS:
        return Finding("lag", text)
    return Finding("lag", text, cure, warning=lag_ms < _LAG_WRONG_MS)


def _targets(found: Json) -> Iterator[Finding]:
    well = 0
    for one in found["targets"]:
        fault = one.get("fault")
        if fault is None:
            well += 1
            continue
        text = f"{one['target']} ({', '.join(one['usedBy'][:3])}): {fault}"
        yield Finding("targets", text, _cure(fault, validated=one["validated"]))
    if well:
        yield Finding("targets", f"{well} of {len(found['targets'])} may be called")
    if left_out := found["targetsLeftOut"]:
        yield Finding("targets", f"{left_out} more were not asked")


def _scriptlets(scriptlets: list[Json]) -> Iterator[Finding]:
    faults = [one for one in scriptlets if "fault" in one]
    for one in faults:
        cure = f"`lq scriptlets show {quote(one['name'])}` tells more."
        yield Finding("scriptlets", f"{one['name']} cannot be run: {one['fault']}", cure)
    if scriptlets and not faults:
        yield Finding("scriptlets", f"all of the {len(scriptlets)} can be run")


def _cure(fault: str, *, validated: bool) -> str:
    if "dns_error" in fault:
        return "Correct the name in the target, or the resolver of lq's machine."
    if "tls_error" in fault:
        return "Renew the server's certificate, or name its authority in [dispatch] ca_file."
    if "target_blocked" in fault:
        return "Open the address in [egress] allow, if lq shall call it."
    if "connect_error" in fault or "timeout" in fault:
        return "See whether the server runs, and whether lq's machine may reach it."
    if validated and ("signature" in fault or "HEAD answered" in fault):
        return (
            "Give its app the secret of `lq secret show`, and have it answer HEAD as the SDKs do;"
            ' or set validate = "none" for it.'
        )
    return "See what its server's log says."
