"""Scriptlets with the real process: the files, `lq run`, `lq scriptlets`, and kill -9."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from lq.client import ApiError, Client

from .conftest import Start
from .process import Daemon, wait_until
from .shell import piped, typed


def program(folder: Path, name: str, text: str, *, mode: int = 0o755) -> Path:
    """A file of the scriptlets folder that runs this Python."""
    path = folder / "scriptlets" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable} -IS\n{text}\n")
    path.chmod(mode)
    return path


@pytest.fixture
def lq(start: Start) -> Daemon:
    """A daemon that is not started yet, so that its folder can be filled."""
    return start(start=False)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


WRITES = """
# lq: timeout = "1m"
# lq: env = { WHO = "ada" }
import os, sys
print("to", os.environ["WHO"], flush=True)
print("warning", file=sys.stderr, flush=True)
sys.exit(int(sys.stdin.read() or 0))
"""


def test_run_shows_what_it_writes_and_ends_as_it_does(lq: Daemon) -> None:
    program(lq.folder, "mail.py", WRITES)
    lq.start()
    done = lq.cli("run", "mail")
    assert (done.code, done.stdout, done.stderr) == (0, "to ada\nwarning\n", "")
    done = lq.cli("run", "mail", "--data", "7")
    assert (done.code, done.stdout) == (7, "to ada\nwarning\n")
    assert "is FAILED after 1 attempt: exit 7: warning" in done.stderr
    [item, _] = lq.client.history(queue="scriptlets")["items"]
    assert (item["type"], item["target"]["url"]) == ("SCRIPTLET", "scriptlet:mail")
    assert lq.cli("items", "logs", item["id"]).stdout == "to ada\nwarning\n"
    [attempt] = lq.client.attempts(item["id"])
    assert (attempt["status"], attempt["responseBody"]) == (7, "to ada\n")
    assert attempt["log"] == "to ada\nwarning\n"


def test_run_tries_again_when_told_to(lq: Daemon) -> None:
    program(
        lq.folder,
        "twice",
        'import os, sys; print(a := os.environ["LQ_ATTEMPT"]); sys.exit(a == "1")',
    )
    lq.start()
    done = lq.cli("run", "twice", "--retry", "10ms")
    assert (done.code, done.stdout) == (0, "1\n2\n")


def test_ctrl_c_leaves_it_running(lq: Daemon) -> None:
    program(lq.folder, "slow", "import time; print('on', flush=True); time.sleep(600)")
    lq.start()
    watching = piped(lq, "run", "slow")
    assert watching.stdout is not None
    assert watching.stdout.readline() == b"on\n"
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate()
    assert watching.returncode == 130
    [item] = lq.client.items()["items"]
    assert f"lq items logs -f {item['id']}" in said.decode()
    assert item["state"] == "RUNNING"
    assert lq.cli("items", "cancel", item["id"]).code == 0
    done = lq.cli("items", "logs", "-f", item["id"])
    assert (done.code, done.stdout) == (0, "on\n")
    wait_until(lambda: "ended by SIGTERM" in lq.client.attempts(item["id"])[0].get("error", ""))


def test_a_terminal_is_shown_no_control_characters(lq: Daemon) -> None:
    program(lq.folder, "rude", r"print('\x1b[31mred\x1b[0m \x1b]0;title\x07')")
    lq.start()
    seen = typed(lq, "run", "rude")
    assert "\x1b[31mred\x1b[0m \\x1b]0;title\\x07" in seen.text


def test_scriptlets_are_listed_shown_and_checked(lq: Daemon) -> None:
    path = program(lq.folder, "mail.py", WRITES)
    with (lq.folder / "lq.toml").open("a") as file:
        file.write('[scriptlets.backup]\ncommand = ["/bin/true", "a b"]\nmemory = "1GiB"\n')
    lq.start()
    assert lq.cli("scriptlets", "ls", "-q").stdout == "backup\nmail\n"
    rows = lq.cli("scriptlets", "ls").stdout.splitlines()
    assert rows[1].split()[:3] == ["backup", "ok", "1d"]
    assert rows[1].endswith("/bin/true 'a b'")
    shown = lq.cli("scriptlets", "show", "mail").stdout
    assert "env         WHO" in shown
    assert "ada" not in shown
    assert lq.cli("scriptlets", "show", "none").code == 3
    assert lq.cli("scriptlets", "check").stdout == "backup: ok\nmail: ok\n"
    path.chmod(0o777)
    checked = lq.cli("scriptlets", "check")
    assert checked.code == 1
    assert "can be written by others" in checked.stdout
    assert "can be written by others" in lq.cli("scriptlets", "ls").stdout
    done = lq.cli("run", "mail")
    assert (done.code, "exec: EPERM" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("[scriptlets.a]", "lq.toml:6: [scriptlets.a] command: is missing"),
        ('[scriptlets.a]\ncommand = "ls"', "command: expected a list such as"),
        ('[scriptlets.a]\ncommand = ["no-such-thing"]', "command: no-such-thing is not found"),
        ('[scriptlets.a]\ncommand = ["./x"]', "command: expected the whole path"),
        ('[scriptlets.a]\ncommand = ["/no/such"]', "ENOENT /no/such is not there"),
        ('[scriptlets.a]\ncommand = ["/bin/true"]\nshell = true', "shell: unknown key"),
        ('[scriptlets.a]\ncommand = ["/bin/true"]\nuser = "nobody-here"', "there is no user"),
        ('[scriptlets.a]\ncommand = ["/bin/true"]\nenv = { LQ_X = "1" }', "LQ_X is lq's own"),
        ('[scriptlets.a]\ncommand = ["/bin/true"]\ntimeout = "0s"', "timeout: expected a duration"),
        ('[scriptlets."a/b"]\ncommand = ["/bin/true"]', "a name has 1 to 64 letters"),
        ("scriptlets = 3", "expected tables [scriptlets.NAME]"),
    ],
)
def test_a_scriptlet_that_is_wrong_is_refused_with_its_line(
    start: Start, config: str, says: str
) -> None:
    lq = start(config, start=False)
    lq.launch()
    ended = lq.wait()
    assert ended.code == 78
    assert says in ended.stderr


@pytest.mark.parametrize(
    ("names", "text", "mode", "says"),
    [
        (["a.py"], "# lq: timeout = soon", 0o755, "scriptlets/a.py:2: expected a setting"),
        (["a.py"], '# lq: timeout = "x"', 0o755, "scriptlets/a.py:2: timeout: expected a number"),
        (["a.py"], '# lq: command = ["x"]', 0o755, "scriptlets/a.py:2: command: unknown key"),
        (["a.py"], "#", 0o775 if os.getgid() else 0o777, "can be written by others"),
        (["a.py", "a.sh"], "#", 0o755, "the scriptlet a is there twice"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    lq: Daemon, names: list[str], text: str, mode: int, says: str
) -> None:
    for name in names:
        program(lq.folder, name, text, mode=mode)
    lq.launch()
    ended = lq.wait()
    assert ended.code == 78
    assert says in ended.stderr


def test_other_files_of_the_folder_are_left_alone(lq: Daemon) -> None:
    program(lq.folder, "notes.txt", "", mode=0o666)
    program(lq.folder, ".hidden", "")
    lq.start()
    assert lq.client.scriptlets() == []


def test_an_apply_follows_what_is_there_now(lq: Daemon) -> None:
    lq.start()
    assert lq.cli("run", "late").code == 2
    program(lq.folder, "late", "print('here')")
    assert lq.cli("apply").code == 0
    assert lq.cli("run", "late").stdout == "here\n"


def test_who_may_run_one(lq: Daemon) -> None:
    program(lq.folder, "closed", "")
    program(lq.folder, "open", '# lq: push = "push"')
    with (lq.folder / "lq.toml").open("a") as file:
        file.write('[queues.backup]\ntarget = "scriptlet:closed"\n')
    lq.start()
    pusher = Client(lq.url, lq.client.create_token("pusher", ["push"])["token"], retries=0)
    for name in ("closed", "none"):
        with pytest.raises(ApiError, match="needs the scope admin"):
            pusher.push("q", target=f"scriptlet:{name}")
        with pytest.raises(ApiError, match="needs the scope admin"):
            pusher.create_schedule("@daily", "q", target=f"scriptlet:{name}")
    waiting = pusher.push("q", target="scriptlet:open", delay_ms=3_600_000, key="k")
    with pytest.raises(ApiError, match="needs the scope admin"):
        pusher.edit(waiting["id"], target="scriptlet:closed")
    # A queue of lq.toml may lead to it all the same.
    item = pusher.push("backup")
    wait_until(lambda: lq.client.item(item["id"])["state"] == "COMPLETED")


def test_what_a_killed_daemon_left_running_is_ended_before_it_runs_again(lq: Daemon) -> None:
    runs = lq.folder / "runs"
    program(
        lq.folder, "job",
        f"import os, time\n"
        f"def tell():\n"
        f"    with open({str(runs)!r}, 'a') as file: print(os.getpid(), file=file)\n"
        f"tell()\n"
        f"if os.fork() == 0:\n"
        f"    os.setsid()\n"
        f"    tell()\n"
        f"time.sleep(600)",
    )  # fmt: skip
    lq.start()
    item = lq.client.push("q", target="scriptlet:job")

    def pids(number: int) -> list[int]:
        found = [int(line) for line in runs.read_text().split()] if runs.exists() else []
        return found if len(found) == number else []

    for number in (2, 4):
        before = wait_until(lambda number=number: pids(number))  # type: ignore[misc]
        lq.kill()
        assert all(alive(pid) for pid in before[-2:])
        lq.start()
        wait_until(lambda number=number: pids(number + 2))  # type: ignore[misc]
        assert not any(alive(pid) for pid in before)
    shown = lq.client.item(item["id"])
    assert (shown["state"], shown["attempts"]) == ("RUNNING", 1)
    lq.client.cancel(item["id"])
    wait_until(lambda: not any(alive(pid) for pid in pids(6)))


def test_a_number_that_was_given_again_is_nobodys_business(lq: Daemon) -> None:
    """The pid in the database is that of a process which lq has not started."""
    program(lq.folder, "job", "import time; print('on', flush=True); time.sleep(600)")
    lq.start()
    item = lq.client.push("q", target="scriptlet:job")
    wait_until(lambda: lq.client.attempts(item["id"]))
    wait_until(lambda: lq.client.logs(item["id"]).get("log") == "on\n")
    lq.kill()
    with sqlite3.connect(lq.database) as database:
        [(pid,)] = database.execute("SELECT pid FROM processes").fetchall()
        database.execute("UPDATE processes SET pid = ?", [os.getpid()])
    database.close()
    lq.start()
    assert json.loads(lq.cli("items", "show", item["id"], "--json").stdout)["state"] == "RUNNING"
    wait_until(lambda: not alive(pid))  # by what its environment says
    lq.client.cancel(item["id"])
    wait_until(lambda: len(lq.client.attempts(item["id"])) == 2)
    assert lq.stop().code == 0
