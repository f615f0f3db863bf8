"""The doors of a real daemon: where it may listen, https, and the log of who came in."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import time
from contextlib import closing
from pathlib import Path

import pytest

from lq.client import Client
from lq.daemon.listen import HANDSHAKE_S
from tests.e2e.conftest import Start
from tests.e2e.process import Daemon, run_lq, wait_until
from tests.support.certificates import Authority

SECURE = '[tls]\ncert = "first.pem"\nkey = "first.key"\n'


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secure(start: Start, authority: Authority) -> Daemon:
    """A daemon with a certificate in its folder, not started."""
    daemon = start(SECURE, start=False)
    for source, name in zip(authority.issue("a"), ("first.pem", "first.key"), strict=True):
        source.rename(daemon.folder / name)
    return daemon


def shown(daemon: Daemon, authority: Authority) -> bytes | None:
    """The certificate that a new connection is shown."""
    trust = ssl.create_default_context(cafile=str(authority.file))
    port = int(daemon.url.rpartition(":")[2])
    with (
        closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection,
        trust.wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        return secured.getpeercert(binary_form=True)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7420"])
def test_tokens_are_not_served_in_the_clear_to_other_machines(start: Start, listen: str) -> None:
    daemon = start(start=False, environ={"LQ_LISTEN": listen})
    daemon.launch()
    ended = daemon.wait()
    assert ended.code == 78
    message, hint = ended.stderr.splitlines()
    assert message.startswith(f"lq: LQ_LISTEN: listen: {listen} is open to other machines")
    assert "[tls]" in hint
    assert "trusted_proxy" in hint
    assert not daemon.database.exists()
    findings = run_lq("doctor", cwd=daemon.folder, environ=daemon.environ)
    assert f"wrong    listen: LQ_LISTEN: listen: {listen} is open to other" in findings.stdout


def test_a_certificate_that_cannot_be_used_is_refused_with_its_line(
    start: Start, authority: Authority
) -> None:
    daemon = secure(start, authority)
    (daemon.folder / "first.key").chmod(0o644)
    daemon.launch()
    ended = daemon.wait()
    assert ended.code == 78
    assert re.match(r"lq: lq\.toml:\d+: \[tls\] key: .* is open to others \(mode 0644\)\n"
                    r"hint: chmod 600 .*first\.key\n$", ended.stderr)  # fmt: skip
    assert not daemon.database.exists()


def test_the_command_line_speaks_https_and_verifies(start: Start, authority: Authority) -> None:
    daemon = secure(start, authority).start()
    assert daemon.url.startswith("https://127.0.0.1:")
    token = daemon.client.create_token("web", ["push", "read"])["token"]
    remote = daemon.environ | {"LQ_API_URL": daemon.url, "LQ_TOKEN": token}
    push = ("push", "--queue", "q", "--target", "https://example.com/", "--delay", "1h")
    strict = run_lq(*push, "--data", "1", cwd=daemon.folder, environ=remote)
    assert strict.code == 6
    assert "its certificate is not to be trusted" in strict.stderr
    assert "SSL_CERT_FILE" in strict.stderr
    trusting = remote | {"SSL_CERT_FILE": str(authority.file)}
    assert run_lq(*push, "--data", "1", cwd=daemon.folder, environ=trusting).code == 0
    wrong_name = trusting | {"LQ_API_URL": daemon.url.replace("127.0.0.1", "127.0.0.2")}
    assert run_lq("queues", "ls", cwd=daemon.folder, environ=wrong_name).code == 6
    assert [queue["name"] for queue in daemon.client.queues()] == ["q"]
    assert daemon.cli("doctor").code == 0
    assert daemon.stop().code == 0


def test_sighup_renews_the_certificate_or_says_why_not(start: Start, authority: Authority) -> None:
    daemon = secure(start, authority).start()
    before = shown(daemon, authority)
    for source, name in zip(authority.issue("b"), ("first.pem", "first.key"), strict=True):
        source.rename(daemon.folder / name)
    daemon.send(signal.SIGHUP)
    daemon.wait_for("new connections get the certificate")
    renewed = shown(daemon, authority)
    assert renewed != before
    (daemon.folder / "first.pem").write_text("nonsense")
    daemon.send(signal.SIGHUP)
    line = daemon.wait_for("SIGHUP: nothing was reloaded: lq.toml:")
    assert "[tls] cert: " in line
    assert shown(daemon, authority) == renewed
    assert daemon.stop().code == 0


def test_silent_handshakes_neither_keep_others_out_nor_hold_up_a_stop(
    start: Start, authority: Authority
) -> None:
    daemon = secure(start, authority).start()
    address = ("127.0.0.1", int(daemon.url.rpartition(":")[2]))
    began = time.monotonic()
    silent = [
        socket.create_connection(address, source_address=("127.0.0.2", 0)) for _ in range(100)
    ]
    assert shown(daemon, authority)
    ended = daemon.stop()
    assert time.monotonic() - began < HANDSHAKE_S
    for connection in silent:
        connection.close()
    assert ended.code == 0


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="reads /proc")
@pytest.mark.parametrize(("hard", "then"), [(4096, 1000 + 3 * 64 + 128 + 256), (512, 512)])
def test_there_are_files_for_all_connections(start: Start, hard: int, then: int) -> None:
    limited = ("sh", "-c", f'ulimit -Sn 128 && ulimit -Hn {hard} && exec "$@"', "-")
    daemon = start(prefix=limited)
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    found = re.search(r"Max open files +(\d+) +(\d+)", limits)
    assert found
    assert (int(found[1]), int(found[2])) == (then, hard)


def test_the_log_names_the_process_on_the_socket(lq: Daemon) -> None:
    assert lq.cli("tokens", "create", "web", "--scope", "push").code == 0
    line = lq.wait_for("POST '/api/v1/tokens': 201")
    found = re.search(r"the owner of the socket \(uid (\d+), pid (\d+)\)", line)
    assert found
    assert int(found[1]) == os.getuid()
    assert int(found[2]) not in {os.getpid(), lq.pid}


def test_a_flood_of_connections_leaves_the_owner_and_others_in(lq: Daemon) -> None:
    token = lq.client.create_token("web", ["read"])["token"]
    address = ("127.0.0.1", int(lq.url.rpartition(":")[2]))
    flood = [socket.create_connection(address, source_address=("127.0.0.2", 0)) for _ in range(300)]
    try:
        assert Client(lq.url, token, retries=0).queues() == []
        assert lq.client.queues() == []
    finally:
        for connection in flood:
            connection.close()
    wait_until(lambda: Client(lq.url, token, retries=0).queues() == [])
    assert lq.stop().code == 0
