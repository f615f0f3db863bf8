"""The first moments of a scriptlet's process: waits for leave, takes its limits, becomes it.

Run as a file by a bare interpreter (`python -I -S`), so that it imports nothing of lq. It is told
on a socket what to become only after the daemon has written down which process it is: whatever
ends the daemon in between ends this as well, and nothing was run that nobody remembers.

Shape: argv[1] is the number of the socket. A JSON object comes over it, with `argv`, `env`, `cwd`
(null: HOME, else the root), `user` (`uid`, `gid`, `groups`), `nice` and `limits` (by the names of
`resource`). What goes wrong is sent back as one line; the end of the stream means that it runs.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
import sys

TYPE_CHECKING = False  # what typing would say, without importing it
if TYPE_CHECKING:
    from typing import Any


def main() -> None:
    """Become what the daemon says, or say why that is impossible."""
    control = socket.socket(fileno=int(sys.argv[1]))
    with control.makefile("rb") as stream:
        line = stream.readline()
    if not line.endswith(b"\n"):
        os._exit(0)  # the daemon has gone
    control.set_inheritable(False)
    try:
        become(json.loads(line))
    except OSError as error:
        word = errno.errorcode.get(error.errno or 0, "EIO")
        control.sendall(f"{word} {error.filename or ''}: {error.strerror}".encode())
    except (ValueError, OverflowError) as error:
        control.sendall(f"EINVAL : {error}".encode())
    os._exit(126)


def become(what: dict[str, Any]) -> None:
    """Take the user, the folder and the limits of a scriptlet, and run it. Raises: OSError."""
    argv, env, cwd = what["argv"], what["env"], what["cwd"]
    if what["nice"] is not None:
        os.setpriority(os.PRIO_PROCESS, 0, what["nice"])
    os.umask(0o022)
    if what["user"] is not None:
        uid, gid, groups = what["user"]
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
    if cwd is not None:
        os.chdir(cwd)
    else:
        try:
            os.chdir(env["HOME"])
        except OSError:
            os.chdir("/")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, most in what["limits"].items():  # last: this interpreter needs memory, too
        number = getattr(resource, name)
        _, hard = resource.getrlimit(number)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (bound, bound))
    os.execve(argv[0], argv, env)  # noqa: S606 (what is run was checked; there is no shell)


if __name__ == "__main__":
    main()
