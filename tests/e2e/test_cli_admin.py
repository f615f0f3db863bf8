"""`lq queues`, `tokens`, `secret`, `doctor` and `version`, and the API from elsewhere."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lq import __version__
from lq.client import Client

from .conftest import Start
from .endpoint import Endpoint
from .process import Daemon, Ended, environment, run_lq
from .shell import typed

YEAR = datetime.now(UTC).year + 2


def read(done: Ended) -> Any:
    assert (done.code, done.stderr) == (0, "")
    return json.loads(done.stdout)


def elsewhere(lq: Daemon, *arguments: str, **environ: str) -> Ended:
    """Run a command as on another machine: with a URL, and without any socket or file."""
    home = lq.folder / "elsewhere"
    home.mkdir(exist_ok=True)
    return run_lq(*arguments, cwd=home, environ=environment(home, LQ_API_URL=lq.url, **environ))


# Queues


def test_queues_are_listed_and_shown(lq: Daemon, endpoint: Endpoint) -> None:
    for _ in range(2):
        lq.client.push("a/b ü", b"", target=endpoint.url(), delay_ms=3_600_000)
    assert lq.cli("queues", "ls", "-q").stdout == "a/b ü\n"
    assert [queue["pending"] for queue in read(lq.cli("queues", "ls", "--json"))] == [2]
    assert lq.cli("queues", "ls").stdout.splitlines()[1].split()[2:5] == ["active", "2", "0"]
    shown = lq.cli("queues", "show", "a/b ü").stdout
    assert "items        2 pending, 0 retry" in shown
    assert "concurrency  16" in shown
    assert read(lq.cli("queues", "show", "a/b ü", "--json"))["pending"] == 2
    assert lq.cli("queues", "show", "none").code == 3


def test_a_queue_is_paused_and_resumed(lq: Daemon, endpoint: Endpoint) -> None:
    lq.client.push("q", b"", target=endpoint.url(), delay_ms=3_600_000)
    assert typed(lq, "queues", "pause", "q").text == "q is paused\n"
    assert typed(lq, "queues", "pause", "q", "--until", "2h").text == "q is paused, 2h left\n"
    paused = read(lq.cli("queues", "pause", "q", "--until", f"{YEAR}-01-01 00:00 UTC", "--json"))
    assert paused["pausedUntil"] == f"{YEAR}-01-01T00:00:00.000Z"
    assert lq.cli("queues", "resume", "q").stdout == "q\n"
    assert read(lq.cli("queues", "show", "q", "--json"))["paused"] is False


def test_a_pause_says_why(lq: Daemon) -> None:
    paused = typed(lq, "queues", "pause", "q", "--until", "2h", "--reason", "moving house")
    assert paused.text == "q is paused, 2h left (moving house)\n"
    assert lq.cli("queues", "pause", "q", "--reason", "two\nlines").code == 2


def test_settings_of_a_queue_are_changed_and_taken_away(lq: Daemon) -> None:
    done = lq.cli("queues", "set", "q", "--rate", "100/min", "--burst", "20", "--concurrency", "4",
                  "--header", "x-team: mail", "--retry", "10s,1m", "--timeout", "5s",
                  "--method", "put")  # fmt: skip
    assert (done.code, done.stdout) == (0, "q\n")
    shown = read(lq.cli("queues", "show", "q", "--json"))
    expected = {"rate": "100/min", "burst": 20, "concurrency": 4, "headers": {"x-team": "mail"},
                "retryPolicy": "10s,1m", "timeout": "5s", "method": "PUT"}  # fmt: skip
    assert expected.items() <= shown.items()
    assert "rate         100/min\n" in lq.cli("queues", "show", "q").stdout
    assert lq.cli("queues", "set", "q", "--unset", "rate", "--unset", "burst", "--json").code == 0
    assert "rate" not in read(lq.cli("queues", "show", "q", "--json"))
    assert read(lq.cli("queues", "set", "q", "--unset", "concurrency", "--fifo", "--json"))["fifo"]
    for wrong in (["--rate", "fast"], ["--unset", "name"], [], ["--fifo", "--concurrency", "2"],
                  ["--rate", "1/s", "--unset", "rate"], ["--burst", "0"]):  # fmt: skip
        assert lq.cli("queues", "set", "q", *wrong).code == 2


def test_a_queue_is_removed_by_force_alone_while_it_holds_items(
    lq: Daemon, endpoint: Endpoint
) -> None:
    lq.client.push("q", b"", target=endpoint.url(), delay_ms=3_600_000)
    assert lq.cli("queues", "rm", "q").code == 5
    assert typed(lq, "queues", "rm", "q", "--force").text == "q is gone; 1 item cancelled\n"


def test_what_the_file_sets_is_marked_and_followed(start: Start) -> None:
    lq = start('[queues.mail]\nrate = "5/s"\n')
    shown = lq.cli("queues", "show", "mail").stdout
    assert "fixed        rate by lq.toml:" in shown
    refused = lq.cli("queues", "set", "mail", "--rate", "1/s")
    assert refused.code == 5
    assert "rate is set by lq.toml:" in refused.stderr
    path = lq.folder / "lq.toml"
    path.write_text(path.read_text().replace("5/s", "7/min"))
    assert lq.cli("apply").code == 0
    assert read(lq.cli("queues", "show", "mail", "--json"))["rate"] == "7/min"


def test_why_an_item_waits(lq: Daemon, endpoint: Endpoint) -> None:
    item = lq.client.push("q", b"", target=endpoint.url(), delay_ms=3_600_000, key="k")
    lq.client.pause("q", reason="moving house")
    told = lq.cli("why", item["id"]).stdout
    assert told.startswith(f"{item['id']} in q is PENDING\nIt waits: its time is in ")
    assert "pause   its queue is paused (moving house)\n" in told
    assert "starts  nobody can know, until that changes\n" in told
    why = read(lq.cli("why", "--queue", "q", "--key", "k", "--json"))
    assert [gate["gate"] for gate in why["gates"]] == ["time", "pause"]
    lq.client.resume("q")
    assert "predictedStart" in read(lq.cli("why", item["id"], "--json"))
    assert lq.cli("why", "job_none").code == 3


# Tokens, and the API from elsewhere


def test_a_token_opens_what_its_scope_says(lq: Daemon, endpoint: Endpoint) -> None:
    create = ("tokens", "create", "ci", "--scope", "push", "--queue", "mail*")
    token = lq.cli(*create).stdout.strip()
    assert re.fullmatch(r"lq_\w+", token)
    push = ("push", "--target", endpoint.url(), "--queue")
    allowed = elsewhere(lq, *push, "mail/a", LQ_TOKEN=token)
    assert (allowed.code, allowed.stderr) == (0, "")
    assert endpoint.next().id == allowed.stdout.strip()
    assert elsewhere(lq, *push, "other", LQ_TOKEN=token).code == 4
    assert elsewhere(lq, "history", LQ_TOKEN=token).code == 4
    assert elsewhere(lq, "secret", "show", LQ_TOKEN=token).code == 4
    assert elsewhere(lq, *push, "mail", "--token", token).code == 0
    lq.cli("tokens", "revoke", "ci")
    assert elsewhere(lq, *push, "mail", LQ_TOKEN=token).code == 4


def test_without_a_token_the_way_to_one_is_told(lq: Daemon) -> None:
    done = elsewhere(lq, "items", "ls")
    assert (done.code, done.stdout) == (4, "")
    assert "LQ_TOKEN" in done.stderr
    assert "lq tokens create" in done.stderr


def test_a_named_configuration_beats_a_url_in_the_environment(lq: Daemon) -> None:
    done = elsewhere(lq, "items", "ls", "-q", "--config", str(lq.folder / "lq.toml"))
    assert (done.code, done.stderr) == (0, "")


def test_tokens_are_listed_without_themselves(lq: Daemon) -> None:
    create = ("tokens", "create", "ci", "--scope", "push", "--scope", "read", "--expires", "90d")
    seen = typed(lq, *create)
    token, told = seen.lines
    assert told.startswith("Keep it now")
    lq.cli("tokens", "create", "old", "--scope", "admin")
    assert lq.cli("tokens", "revoke", "old").stdout == "old\n"
    text = lq.cli("tokens", "ls").stdout
    assert token not in text
    rows = [line.split() for line in text.splitlines()[1:]]
    assert rows[0][:3] == ["ci", "live", "push,read"]
    assert "90d" in rows[0]
    assert rows[1][:3] == ["old", "revoked", "admin"]
    assert lq.cli("tokens", "ls", "-q").stdout.split() == ["ci", "old"]
    assert {entry["name"] for entry in read(lq.cli("tokens", "ls", "--json"))} == {"ci", "old"}
    assert token not in lq.cli("tokens", "ls", "--json").stdout


def test_what_is_no_token_is_refused(lq: Daemon) -> None:
    assert lq.cli("tokens", "create", "x").code == 2
    assert lq.cli("tokens", "create", "x", "--scope", "all").code == 2
    assert lq.cli("tokens", "create", "a b", "--scope", "push").code == 2
    assert (
        lq.cli("tokens", "create", "x", "--scope", "push", "--expires", "2001-01-01 00:00").code
        == 2
    )
    assert lq.cli("tokens", "revoke", "none").code == 3
    lq.cli("tokens", "create", "x", "--scope", "push")
    assert lq.cli("tokens", "create", "x", "--scope", "push").code == 5


# The secret and the version


def test_the_secret_is_shown_bare(lq: Daemon) -> None:
    assert lq.cli("secret", "show").stdout == f"{lq.secret()}\n"
    assert lq.cli("secret", "show", "--webhook").stdout.startswith("whsec_")
    assert read(lq.cli("secret", "show", "--json"))["secret"] == lq.secret()


def test_the_version_is_told_in_each_way(tmp_path: Path) -> None:
    for arguments in (("version",), ("--version",)):
        done = run_lq(*arguments, cwd=tmp_path, environ=environment(tmp_path))
        assert (done.code, done.stdout) == (0, f"lq {__version__}\n")
    done = run_lq("version", "--json", cwd=tmp_path, environ=environment(tmp_path))
    assert read(done) == {"version": __version__}


# The doctor


MACHINE = {"clock", "disk", "lag"}
"""What a test cannot put right: where this machine is short of something, that is a warning."""


def test_a_healthy_daemon_has_nothing_wrong(lq: Daemon) -> None:
    done = lq.cli("doctor")
    assert (done.code, done.stderr) == (0, "")
    findings = read(lq.cli("doctor", "--json", "--deep"))
    assert {finding["check"] for finding in findings} == {
        "configuration", "data folder", "disk", "secret", "socket", "listen", "daemon", "version",
        "clock", "database", "open files", "lag", "time zones",
    }  # fmt: skip
    assert all(finding["ok"] for finding in findings)
    assert {one["check"] for one in findings if one["level"] != "ok"} <= MACHINE


def wrong(done: Ended) -> dict[str, Any]:
    """The findings of a doctor that are not well, by check."""
    assert done.code == 1
    findings = json.loads(done.stdout)
    assert all((one["level"] != "ok") == ("cure" in one) for one in findings)
    return {finding["check"]: finding for finding in findings if not finding["ok"]}


def test_open_files_are_found_and_cured(lq: Daemon) -> None:
    database = lq.data / "lq.db"
    database.chmod(0o644)
    lq.socket.chmod(0o666)
    found = wrong(lq.cli("doctor", "--json"))
    assert found.keys() == {"data folder", "socket"}
    assert "lq.db" in found["data folder"]["finding"]
    assert found["socket"]["cure"] == f"chmod 600 {lq.socket}"
    lq.socket.chmod(0o600)
    database.chmod(0o600)
    lq.data.chmod(0o755)
    assert wrong(lq.cli("doctor", "--json"))["data folder"]["cure"] == f"chmod 700 {lq.data}"
    lq.data.chmod(0o700)
    assert lq.cli("doctor").code == 0


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("items", "show"), "id"),
        (("items", "cancel"), "id"),
        (("queues", "resume"), "queue"),
        (("tokens", "revoke"), "name"),
    ],
)
def test_an_empty_argument_is_a_usage_error(
    lq: Daemon, command: tuple[str, ...], name: str
) -> None:
    done = lq.cli(*command, "")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"lq: {name}: must not be empty\nhint: ")


def test_a_secret_that_is_open_or_gone_is_found(lq: Daemon) -> None:
    secret = lq.data / "secret"
    secret.chmod(0o640)
    found = wrong(lq.cli("doctor", "--json"))
    assert found.keys() == {"secret"}
    assert found["secret"]["cure"].startswith(f"chmod 600 {secret}")
    secret.unlink()
    assert "no signing secret" in wrong(lq.cli("doctor", "--json"))["secret"]["finding"]


def test_a_stopped_daemon_is_found(lq: Daemon) -> None:
    lq.stop()
    found = wrong(lq.cli("doctor", "--json"))
    assert found.keys() == {"daemon"}
    assert "lq serve" in found["daemon"]["cure"]


def test_nothing_at_all_is_found(tmp_path: Path) -> None:
    done = run_lq("doctor", "--json", cwd=tmp_path, environ=environment(tmp_path))
    assert wrong(done).keys() == {"data folder", "daemon"}


def test_a_broken_configuration_is_found(tmp_path: Path) -> None:
    (tmp_path / "lq.toml").write_text("[dispatch]\nconcurency = 1")
    done = run_lq("doctor", "--json", cwd=tmp_path, environ=environment(tmp_path))
    found = wrong(done)
    assert found.keys() == {"configuration"}
    assert "did you mean concurrency?" in found["configuration"]["finding"]


def test_a_configuration_that_others_may_change_is_found(lq: Daemon) -> None:
    (lq.folder / "lq.toml").chmod(0o666)
    found = wrong(lq.cli("doctor", "--json"))
    assert found["configuration"]["cure"] == f"chmod go-w {lq.folder / 'lq.toml'}"


def test_targets_are_asked_and_what_is_wrong_is_cured(start: Start, endpoint: Endpoint) -> None:
    lq = start(
        f'[queues.good]\ntarget = "{endpoint.url("/good")}"\n'
        f'[queues.trusted]\ntarget = "{endpoint.url("/trusted")}"\nvalidate = "none"\n'
        '[queues.gone]\ntarget = "https://nowhere.invalid/"\n'
    )

    def targets() -> tuple[list[str], dict[str, Any]]:
        found = json.loads(lq.cli("doctor", "--json").stdout)
        found = [one for one in found if one["check"] == "targets"]
        bad = {one["finding"].partition(" (")[0]: one for one in found if not one["ok"]}
        return [one["finding"] for one in found if one["ok"]], bad

    well, bad = targets()
    assert well == ["2 of 3 may be called"]
    assert bad.keys() == {"https://nowhere.invalid/"}
    assert "the resolver" in bad["https://nowhere.invalid/"]["cure"]
    assert lq.cli("secret", "rotate", "--overlap", "0s").code == 0  # the endpoint is not told
    well, bad = targets()
    assert well == ["1 of 3 may be called"]
    unproved = bad[endpoint.url("/good")]
    assert "(queue good): the x-lq-signature of its HEAD answer is not valid" in unproved["finding"]
    assert "`lq secret show`" in unproved["cure"]


def test_a_damaged_database_is_found_while_nothing_serves_it(lq: Daemon) -> None:
    for number in range(200):
        lq.client.push("q", b"x" * 1000, target="https://example.com/", delay_ms=3_600_000,
                       key=str(number))  # fmt: skip
    lq.stop()
    content = bytearray(lq.database.read_bytes())
    for page in range(8, len(content) // 4096, 3):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    lq.database.write_bytes(content)
    found = wrong(lq.cli("doctor", "--json"))
    assert re.search("is damaged|is not a readable database", found["database"]["finding"])
    assert "lq restore" in found["database"]["cure"]


def test_a_unit_whose_program_is_gone_is_found(lq: Daemon) -> None:
    unit = lq.folder / ".config/systemd/user/lq.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/opt/gone/lq serve\n")
    assert wrong(lq.cli("doctor", "--json"))["service"]["cure"] == "lq service install"


def test_the_doctor_folds_its_findings_for_a_person(lq: Daemon) -> None:
    seen = typed(lq, "doctor", width=60)
    # A path alone is not broken in two.
    assert all(len(line) <= 60 or " " not in line.strip() for line in seen.lines)
    assert "\x1b[32mok" in seen.text
    assert "\x1b" not in typed(lq, "doctor", NO_COLOR="1").text


def test_a_daemon_of_another_data_folder_is_found(lq: Daemon) -> None:
    data = lq.folder / "other"
    data.mkdir(mode=0o700)
    environ = lq.environ | {"LQ_SOCKET": str(lq.socket), "LQ_DATA_DIR": str(data)}
    done = run_lq("doctor", "--json", cwd=lq.folder, environ=environ)
    assert str(lq.data) in wrong(done)["data folder"]["finding"]


def test_a_daemon_elsewhere_is_examined_without_this_machine(lq: Daemon, start: Start) -> None:
    token = Client(socket=lq.socket).create_token("ci", ["read"])["token"]
    done = elsewhere(lq, "doctor", "--json", LQ_TOKEN=token)
    checks = [finding["check"] for finding in read(done)]
    assert checks == ["configuration", "daemon", "version", "clock"]
    assert wrong(elsewhere(lq, "doctor", "--json")).keys() == {"daemon"}
