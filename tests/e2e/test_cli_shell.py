"""The command line as a citizen of the shell: help, completion, errors, pipes and signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Start
from .endpoint import Endpoint
from .process import LQ, Daemon, Ended, environment, run_lq
from .shell import completions, piped, typed

COMMANDS = {
    *("serve", "push", "run", "items", "why", "history", "failures", "schedules", "cron", "apply"),
    *("reload", "listen", "trigger", "panel", "endpoints", "config"),
    *("queues", "scriptlets", "alerts", "tokens", "secret", "import", "service"),
    *("tail", "top", "export", "drain", "backup", "restore", "release", "doctor", "version"),
}

LOADED = """
import contextlib, json, sys
from lq.cli import main
with contextlib.suppress(SystemExit):
    main()
print(json.dumps(sorted(sys.modules)))
"""


def alone(folder: Path, *arguments: str, **environ: str) -> Ended:
    """Run a command where there is no daemon and no configuration."""
    return run_lq(*arguments, cwd=folder, environ=environment(folder, **environ))


# Help and completion


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_every_command_with_what_it_does(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = alone(tmp_path, *arguments)
    assert (done.code, done.stderr) == (0, "")
    _, _, listed = done.stdout.partition("Commands:\n")
    lines = [line.split(maxsplit=1) for line in listed.split("\n\n")[0].splitlines()]
    assert {name for name, _ in lines} == COMMANDS
    assert all(text and "..." not in text for _, text in lines)
    assert "6 daemon unreachable" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("group", "verbs"),
    [
        ("items", {"ls", "show", "logs", "cancel", "reschedule", "run", "retry"}),
        (
            "schedules",
            {"ls", "show", "add", "edit", "rm", "pause", "resume", "run", "next", "simulate"},
        ),
        ("queues", {"ls", "show", "set", "pause", "resume", "purge", "rm"}),
        ("scriptlets", {"ls", "show", "check"}),
        ("alerts", {"ls", "test"}),
        ("tokens", {"create", "ls", "revoke"}),
        ("secret", {"show", "rotate", "revoke-old"}),
        ("import", {"crontab", "systemd-timer"}),
        ("service", {"install", "status", "logs", "uninstall"}),
    ],
)
def test_a_group_alone_shows_its_help(tmp_path: Path, group: str, verbs: set[str]) -> None:
    done = alone(tmp_path, group)
    assert done.code == 0
    _, _, listed = done.stdout.partition("Commands:\n")
    assert {line.split()[0] for line in listed.splitlines()} == verbs


def test_a_terminal_gets_the_same_help(start: Start) -> None:
    seen = typed(start(start=False), "--help")
    assert all(f" {command} " in seen.plain for command in COMMANDS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("lq p", {"push", "panel"}),
        ("lq items re", {"reschedule", "retry"}),
        ("lq schedules add --misfire ", {"once", "skip", "all"}),
        ("lq push --if-exists ", {"replace", "keep", "reject"}),
        ("lq push --wa", {"--wait", "--wait-timeout"}),
        ("lq tokens create x --scope ", {"push", "read", "admin"}),
    ],
)
def test_bash_completes(tmp_path: Path, words: str, expected: set[str]) -> None:
    done = alone(
        tmp_path,
        _LQ_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(words.count(" ")),
    )
    assert set(done.stdout.split()) == expected


def test_completion_is_set_up_by_the_shell_it_is_for(tmp_path: Path) -> None:
    command = ["/bin/bash", "-c", '"$0" --install-completion; :', LQ]
    done = subprocess.run(
        command, env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert "bash completion installed in" in done.stdout
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert str(script) in (tmp_path / ".bashrc").read_text()


def test_bash_completes_what_the_daemon_knows(start: Start, endpoint: Endpoint) -> None:
    lq = start(
        '[scriptlets.backup]\ncommand = ["/bin/true"]\n'
        '[[schedules]]\nkey = "nightly"\nschedule = "@daily"\nqueue = "ops"\n'
        f'target = "{endpoint.url()}"\n'
    )
    for queue in ("mail", "mäil x", "ops"):
        lq.client.push(queue, b"", target=endpoint.url(), delay_ms=3_600_000)
    for words, expected in (
        ("lq queues show m", ["mail", "mäil x"]),
        ("lq push --queue ", ["mail", "mäil x", "ops"]),
        ("lq items ls --queue o", ["ops"]),
        ("lq schedules show n", ["nightly"]),
        ("lq history --schedule ", ["nightly"]),
        ("lq run ", ["backup"]),
    ):
        assert completions(LQ, words, lq.environ, lq.folder) == expected
    assert lq.stop().code == 0
    assert completions(LQ, "lq queues show m", lq.environ, lq.folder) == [""]


# Errors


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (("psh",), "No such command 'psh'. Did you mean 'push'?", "`lq --help`"),
        (("items", "list"), "No such command 'list'", "`lq items --help`"),
        (("push", "--queue"), "Option '--queue' requires an argument", "`lq --help`"),
        (("queues", "show"), "Missing argument 'QUEUE'", "`lq queues show --help`"),
        (("items", "ls", "--limit", "0"), "--limit", "`lq items ls --help`"),
        (
            ("tokens", "create", "x"),
            "Missing option '--scope'. Choose from: push, read, admin",
            "`lq tokens create --help`",
        ),
    ],
)
def test_a_usage_error_is_a_sentence_and_a_hint(
    tmp_path: Path, arguments: tuple[str, ...], said: str, hint: str
) -> None:
    done = alone(tmp_path, *arguments)
    first, second = done.stderr.splitlines()
    assert (done.code, done.stdout) == (2, "")
    assert first.startswith(f"lq: {said}" if said[0] != "-" else "lq: ")
    assert said in first
    assert second == f"hint: {hint} shows what it takes."


@pytest.mark.parametrize(
    "arguments",
    [
        ("push", "--queue", "q"),
        ("items", "ls"),
        ("items", "show", "job_1"),
        ("items", "cancel", "job_1", "job_2"),
        ("history",),
        ("apply",),
        ("queues", "ls"),
        ("tokens", "create", "x", "--scope", "push"),
        ("secret", "show"),
    ],
)
def test_without_a_daemon_the_way_to_one_is_told(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = alone(tmp_path, *arguments)
    assert (done.code, done.stdout) == (6, "")
    assert done.stderr.startswith("lq: no lq daemon is running at ")
    assert "`lq serve`" in done.stderr


def test_a_url_where_nobody_listens_is_unreachable(tmp_path: Path) -> None:
    done = alone(tmp_path, "items", "ls", "--url", "http://127.0.0.1:9")
    assert (done.code, done.stdout) == (6, "")
    assert "http://127.0.0.1:9: connection refused" in done.stderr
    done = alone(tmp_path, "items", "ls", LQ_API_URL="localhost:7420")
    assert (done.code, "https://" in done.stderr) == (2, True)


def test_a_broken_configuration_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "lq.toml").write_text("listen = \n")
    done = alone(tmp_path, "items", "ls")
    assert (done.code, done.stdout) == (78, "")
    assert done.stderr.startswith("lq: lq.toml:1: not valid TOML")
    assert alone(tmp_path, "items", "ls", "--config", "none.toml").code == 78


# Pipes and signals


def test_a_reader_that_goes_away_ends_it_quietly(lq: Daemon, endpoint: Endpoint) -> None:
    for _ in range(300):
        lq.client.push("q", b"", target=endpoint.url(), delay_ms=3_600_000, labels=["x" * 60])
    with piped(lq, "items", "ls", "--all", "--json") as process:
        assert process.stdout
        assert process.stdout.readline() == b"[\n"
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_full_disk_behind_stdout_is_an_error(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [LQ, "version"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(tmp_path),
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"lq: cannot write to stdout: No space left on device\n"


def test_it_needs_no_stdout(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m lq version >&-"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, env=environment(tmp_path), check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_ends_a_wait_quietly_and_the_item_goes_on(lq: Daemon, endpoint: Endpoint) -> None:
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--delay", "1h", "--wait")
    with piped(lq, *push) as process:
        assert process.stdout
        job = process.stdout.readline().decode().strip()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (130, b"")
    assert lq.client.item(job)["state"] == "PENDING"


def test_an_encoding_without_umlauts_is_no_reason_to_fail(lq: Daemon, endpoint: Endpoint) -> None:
    lq.client.push("größe", b"", target=endpoint.url(), delay_ms=3_600_000)
    environ = lq.environ | {"PYTHONIOENCODING": "ascii"}
    done = run_lq("queues", "ls", "-q", cwd=lq.folder, environ=environ)
    assert (done.code, done.stdout) == (0, "gr\\xf6\\xdfe\n")


# What it costs


def test_a_call_loads_nothing_heavy(lq: Daemon, endpoint: Endpoint) -> None:
    push = ("push", "--queue", "q", "--target", endpoint.url(), "--data", '{"a":1}')
    for arguments in (
        push,
        (*push, "--delay", "5m", "--key", "k", "--wait-timeout", "1ms"),
        ("items", "cancel", "--queue", "q", "--key", "k"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", LOADED, *arguments],
            cwd=lq.folder,
            env=lq.environ,
            capture_output=True,
            check=False,
        )
        loaded = set(json.loads(done.stdout.splitlines()[-1]))
        assert "lq.client" in loaded
        assert not {name for name in loaded if name.startswith("lq.daemon")}
        assert loaded.isdisjoint(
            {"rich", "asyncio", "aiohttp", "aiosqlite", "msgspec", "http.client", "ssl", "pydantic"}
        )
