"""A crontab is read as Debian's cron reads it: line by line, with its environment and its input."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lq.takeover import switch
from lq.takeover.crontab import MAX_COMMAND, OFF, Entry, parse, read_variable, split_command


def only(text: bytes, *, system: bool = False) -> Entry:
    crontab = parse(text, system=system)
    assert crontab.bad == ()
    (entry,) = crontab.entries
    return entry


@pytest.mark.parametrize(
    ("line", "variable"),
    [
        ("A=b", ("A", "b")),
        ("A = b c  ", ("A", "b c")),
        ('A="b c" ', ("A", "b c")),
        ("A=' b '", ("A", " b")),  # strdtb() of env.c
        ('"A B"=c', ("A B", "c")),
        ("'A'= \t c", ("A", "c")),
        ('A=b"c"', ("A", 'b"c"')),
        ('A=""', ("A", "")),
        ("A=$HOME/x # no comment", ("A", "$HOME/x # no comment")),
        ("PATH=/a=b", ("PATH", "/a=b")),
        ("A=", None),  # cron takes it for an entry, and refuses it
        ('A="b', None),
        ('A="b" c', None),
        ("A b=c", None),
        ("=b", ("", "b")),
        ("* * * * * A=b c", None),
        ("@daily A=b c", None),
        ('"A=B"=c', None),
    ],
)
def test_variables(line: str, variable: tuple[str, str] | None) -> None:
    assert read_variable(line) == variable


@pytest.mark.parametrize(
    ("text", "command", "stdin"),
    [
        ("a b", "a b", None),
        ("a%b", "a", "b\n"),
        ("a%b%c%", "a", "b\nc\n"),
        ("a%", "a", ""),
        ("a%%b", "a", "\nb\n"),
        (r"date +\%F", "date +%F", None),
        (r"a\%b%c\%d", "a%b", "c%d\n"),
        (r"a\n\\b", r"a\n\\b", None),
        (r"a\\%b", r"a\%b", None),
        ("a\\", "a\\", None),
        ("a%b\\", "a", "b\\\n"),
    ],
)
def test_percent_signs(text: str, command: str, stdin: str | None) -> None:
    assert split_command(text) == (command, stdin)


@given(st.text(alphabet="a%\\ "))
@example("\\\\%")
def test_percent_signs_as_cron_undoes_them(text: str) -> None:
    command, stdin = split_command(text)
    assert (command, stdin) == _as_in_do_command(text)


def _as_in_do_command(text: str) -> tuple[str, str | None]:
    """The two loops of do_command.c, as they stand there."""
    command, escaped, rest = "", False, None
    for at, ch in enumerate(text):
        if escaped:
            if ch != "%":
                command += "\\"
        elif ch == "%":
            rest = text[at + 1 :]
            break
        escaped = ch == "\\"
        if not escaped:
            command += ch
    if escaped:
        command += "\\"
    if rest is None:
        return command, None
    sent, escaped, need_newline = "", False, False
    for sign in rest:
        ch = sign
        if escaped:
            if ch != "%":
                sent += "\\"
        elif ch == "%":
            ch = "\n"
        escaped = ch == "\\"
        if not escaped:
            sent += ch
            need_newline = ch != "\n"
    if escaped:
        sent += "\\"
        need_newline = True
    return command, sent + ("\n" if need_newline else "")


def test_the_environment_is_what_stands_above_a_line() -> None:
    text = b"A=1\n* * * * * one\nA=2\nB=3\n* * * * * two\nC=4\n"
    one, two = parse(text, system=False).entries
    assert (one.env, two.env) == ({"A": "1"}, {"A": "2", "B": "3"})


def test_a_comment_right_above_is_the_name() -> None:
    text = b"# Not this one\n\n#  Nightly backup \n0 1 * * * a\n0 2 * * * b\n"
    assert [entry.comment for entry in parse(text, system=False).entries] == ["Nightly backup", ""]


def test_a_system_crontab_names_users() -> None:
    entry = only(b"17 *\t* * *\troot\tcd / && run-parts /etc/cron.hourly\n", system=True)
    assert (entry.user, entry.command) == ("root", "cd / && run-parts /etc/cron.hourly")
    assert entry.when == "17 * * * *"
    assert only(b"@daily ada  echo  hi\n", system=True).command == "echo  hi"


def test_what_a_takeover_switched_off_is_an_entry_still() -> None:
    text = b"# Backup\n0 1 * * * a\n* * * * * b\n"
    off = parse(switch.off(text, {2}), system=False)
    assert [(entry.off, entry.line) for entry in off.entries] == [(True, 2), (False, 3)]
    assert off.entries[0].comment == "Backup"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"0 1 * * *", "no command"),
        (b"0 1 * *", "neither a variable nor five fields"),
        (b"MAILTO=", "neither a variable nor five fields"),
        (b"* * * * * * a", "a field too many"),
        (b"@fortnightly a", "cron knows no @fortnightly"),
        (b"@DAILY a", "cron knows no @DAILY"),
        (b"0 1 * * * a \xff", "UTF-8"),
        (b"0 1 * * * a \0", "NUL"),
    ],
)
def test_lines_that_cannot_be_taken_over(line: bytes, reason: str) -> None:
    crontab = parse(b"\n" + line + b"\n* * * * * good\n", system=False)
    (bad,) = crontab.bad
    assert bad.line == 2
    assert reason in bad.reason
    assert [entry.command for entry in crontab.entries] == ["good"]


def test_what_is_wrong_with_a_whole_file_is_said() -> None:
    crontab = parse(b"# \xe9t\xe9\r\n\t 0 1 * * * a\r\n0 2 * * * b", system=False)
    assert [entry.command for entry in crontab.entries] == ["a", "b"]
    assert len(crontab.notes) == 2
    assert "no newline" in crontab.notes[0]
    assert "CR LF" in crontab.notes[1]


def test_what_cron_would_refuse_is_noted() -> None:
    assert only(b"0 1 * * * " + b"a" * MAX_COMMAND + b"\n").notes == ()
    (note,) = only(b"0 1 * * * " + b"a" * (MAX_COMMAND + 1) + b"\n").notes
    assert str(MAX_COMMAND) in note
    (note,) = only(b"-0 1 * * * a\n").notes
    assert "system log" in note


def test_reboot_has_no_fields() -> None:
    entry = only(b"@reboot a\n")
    assert (entry.fields, entry.when) == ((), "@reboot")


@given(st.binary())
@example(b"A=\n@\n-\n% % % % %\n")
def test_any_bytes_are_read(data: bytes) -> None:
    for system in (False, True):
        crontab = parse(data, system=system)
        lines = [entry.line for entry in crontab.entries] + [bad.line for bad in crontab.bad]
        assert len(lines) == len(set(lines))


@given(st.binary(), st.sets(st.integers(1, 5)))
@example(b"a\nb", {1, 2})
def test_switched_off_and_on_again(text: bytes, lines: set[int]) -> None:
    plain = switch.on(text)
    while plain != text:  # a text with marks of its own
        text, plain = plain, switch.on(plain)
    off = switch.off(text, lines)
    assert switch.on(off) == text
    assert switch.off(off, lines) == off
    assert off.count(OFF.encode()) == len(lines & set(range(1, text.count(b"\n") + 2)))
