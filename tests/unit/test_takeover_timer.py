"""A systemd timer and its service become a job: times, command line, environment, limits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lq.takeover import units
from lq.takeover.fromcron import Machine
from lq.takeover.fromtimer import Texts, jobs, service_of, span
from lq.takeover.job import Job, Left
from lq.takeover.units import Command, UnitError

HOMES = {"root": "/root", "ada": "/home/ada"}
ROOT = Machine("Europe/Berlin", "root", HOMES.get)


def found(timer: str, service: str, *, name: str = "backup", machine: Machine = ROOT) -> Job | Left:
    one = jobs(
        Texts(f"{name}.timer", [f"[Timer]\n{timer}"]),
        Texts(f"{name}.service", [f"[Service]\n{service}"]),
        machine,
    )
    return one.jobs[0] if one.jobs else one.left[0]


def job(timer: str = "OnCalendar=daily", service: str = "ExecStart=/bin/true", **how: str) -> Job:
    one = found(timer, service, **how)  # type: ignore[arg-type]  # `name` alone is given
    assert isinstance(one, Job), one
    return one


def reason(timer: str = "OnCalendar=daily", service: str = "ExecStart=/bin/true") -> str:
    one = found(timer, service)
    assert isinstance(one, Left), one
    return one.reason


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/bin/a b  c", ["/bin/a", "b", "c"]),
        ('/bin/a "b c" \'d "e\' ""', ["/bin/a", "b c", 'd "e', ""]),
        (r"/bin/a b\x20c \101 \n \\ d\se", ["/bin/a", "b c", "A", "\n", "\\", "d e"]),
        (r"/bin/a \"x\" \q", ["/bin/a", '"x"', r"\q"]),
        ("/bin/a b'c d", ["/bin/a", "b'c", "d"]),
    ],
)
def test_command_lines_come_apart_as_in_systemd(line: str, words: list[str]) -> None:
    (command,) = units.commands(line)
    assert list(command.words) == words


def test_prefixes_and_semicolons() -> None:
    assert units.commands(r"-/bin/a ; @!/bin/b b \; c ';'") == [
        Command(("/bin/a",), "-"),
        Command(("/bin/b", "b", ";", "c", ";"), "@!"),
    ]
    for wrong in ("", "-", "/bin/a ;", '/bin/a "b', r"/bin/a \x00"):
        with pytest.raises(UnitError):
            units.commands(wrong)


def test_variables_go_where_systemd_puts_them(tmp_path: Path) -> None:
    """The script runs: $ONE by itself is split, ${ONE} is not, $$ is a dollar, * stays."""
    (command,) = units.commands(r"/usr/bin/printf '<%%s>' $ONE ${ONE} a${ONE}b $$ONE * $NONE it's")
    words = tuple(units.expand(word, {"%": "%"}) for word in command.words)
    script = f"set -ef; {units.shell(Command(words))}"
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"ONE": "x y"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "<x><y><x y><ax yb><$ONE><*><it's>"


def test_units_are_read_with_their_drop_ins() -> None:
    unit = units.parse(
        "# about\n[Timer]\nOnCalendar=daily\nOnCalendar = \\\n; not this\n  weekly\n[X-Y]\nA=b\n",
        "[Timer]\nOnCalendar=\nOnCalendar=monthly\n",
    )
    assert unit == {"Timer": {"OnCalendar": ["monthly"]}, "X-Y": {"A": ["b"]}}
    with pytest.raises(UnitError):
        units.parse("[Timer]\nwhat")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("30", 30_000),
        ("1h 30min", 5_400_000),
        ("1h30m", 5_400_000),
        ("2 days", 172_800_000),
        ("1.5s", 1500),
        ("500ms", 500),
        ("1w", 604_800_000),
    ],
)
def test_time_spans(text: str, ms: int) -> None:
    assert span(text) == ms


@pytest.mark.parametrize("text", ["", "x", "5 parsecs", "-1", "1h x"])
def test_what_is_no_time_span(text: str) -> None:
    with pytest.raises(ValueError, match="time span"):
        span(text)


def test_a_whole_timer() -> None:
    one = job(
        "OnCalendar=daily\nOnCalendar=Mon 5:00 America/New_York\nPersistent=true\n"
        "RandomizedDelaySec=1h 30min\nAccuracySec=1us\nWakeSystem=yes",
        'User=ada\nType=oneshot\nEnvironment=A=b "C=d e"\nWorkingDirectory=~\nNice=10\n'
        "MemoryMax=2G\nTimeoutStartSec=2h\nExecStart=/usr/bin/backup --full '%i' 100%%\n"
        "ProtectSystem=full",
        name="backup@main",
    )
    assert one.command == ("/usr/bin/backup", "--full", "main", "100%")
    assert one.name == "backup-main"
    assert (one.user, one.cwd, one.nice, one.memory) == ("ada", "/home/ada", 10, "2048MiB")
    assert (one.misfire, one.overlap, one.timeout) == ("once", "skip", "2h")
    assert {"A": "b", "C": "d e", "LOGNAME": "ada"}.items() <= one.env.items()
    first, second = one.rules
    assert (first.rule, first.zone, first.jitter) == ("0 0 * * *", "Europe/Berlin", "1h30m")
    assert (second.rule, second.zone) == ("0 5 * * 1", "America/New_York")
    told = " ".join(one.notes)
    assert all(word in told for word in ("AccuracySec", "WakeSystem", "ProtectSystem"))


def test_what_a_timer_leaves_out_has_systemds_default() -> None:
    one = job()
    assert (one.misfire, one.overlap, one.timeout, one.cwd) == ("skip", "skip", None, "/")
    assert one.user is None
    assert one.env["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"


def test_intervals() -> None:
    one = job("OnBootSec=15min\nOnUnitActiveSec=1d")
    assert [rule.rule for rule in one.rules] == ["E=1d"]
    assert any("OnBootSec" in note for note in one.notes)
    assert [rule.rule for rule in job("OnUnitInactiveSec=90").rules] == ["E=1m30s"]


def test_several_commands_are_one_script() -> None:
    one = job(
        service="ExecStartPre=-/bin/mkdir /x\nExecStart=/bin/a 'b c'\nExecStart=/bin/d\n"
        "EnvironmentFile=-/etc/default/x\nExecStartPost=/bin/e"
    )
    script = (
        "set -ef; set -a; [ ! -r /etc/default/x ] || . /etc/default/x; set +a; "
        "/bin/mkdir /x || :; /bin/a 'b c'; /bin/d; /bin/e"
    )
    assert one.command == ("/bin/sh", "-c", script)


def test_years_are_the_ends_of_a_schedule() -> None:
    (rule,) = job("OnCalendar=2027-*-* 3:00").rules
    assert (rule.start, rule.until) == ("2026-12-31T23:00:00Z", "2027-12-31T22:59:59Z")


@pytest.mark.parametrize(
    ("timer", "service", "why"),
    [
        ("OnBootSec=5min", "ExecStart=/bin/true", "runs once after the start"),
        ("", "ExecStart=/bin/true", "no OnCalendar= and no OnUnitActiveSec="),
        ("OnCalendar=Fri *-*-13", "ExecStart=/bin/true", "OnCalendar=Fri"),
        ("OnUnitActiveSec=1ms", "ExecStart=/bin/true", "each second"),
        ("OnUnitActiveSec=soon", "ExecStart=/bin/true", "time span"),
        ("OnCalendar=daily", "Type=oneshot", "no ExecStart="),
        ("OnCalendar=daily", "ExecStart=/bin/true\nExecCondition=/bin/x", "ExecCondition="),
        ("OnCalendar=daily", "ExecStart=/bin/true %b", "%b has no value"),
        ("OnCalendar=daily", "ExecStart=@/bin/sh argv0", "another name"),
        ("OnCalendar=daily", "ExecStart=/bin/true\nUser=eve", "no user eve"),
        ("OnCalendar=daily", "ExecStart=/bin/true\nEnvironment=nothing", "sets no variable"),
        ("OnCalendar=daily", "what", "neither a section nor a setting"),
    ],
)
def test_what_stays_with_systemd(timer: str, service: str, why: str) -> None:
    assert why in reason(timer, service)


def test_only_roots_lq_runs_as_somebody_else() -> None:
    ada = Machine("UTC", "ada", HOMES.get)
    left = found("OnCalendar=daily", "ExecStart=/bin/true", machine=ada)
    assert isinstance(left, Left)
    assert "only an lq of root's can" in left.reason
    own = found("OnCalendar=daily", "ExecStart=/bin/true\nUser=ada", machine=ada)
    assert isinstance(own, Job)
    assert own.user is None


def test_programs_that_are_gone_are_not_taken_over() -> None:
    bare = Machine("UTC", "root", HOMES.get, lambda program: program == "/bin/gone")
    left = found("OnCalendar=daily", "ExecStart=/bin/gone", machine=bare)
    assert isinstance(left, Left)
    assert "/bin/gone is not on this machine" in left.reason


def test_a_timer_names_its_service() -> None:
    assert service_of(Texts("a.timer", ["[Timer]\nOnCalendar=daily"])) == "a.service"
    assert service_of(Texts("a.timer", ["[Timer]\nUnit=b.service"])) == "b.service"
