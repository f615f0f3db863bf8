"""How the daemon starts, and how it says why it does not."""

from __future__ import annotations

import resource
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lq.daemon.lanes import MOST_ASIDE

from .conftest import Start
from .endpoint import Endpoint
from .process import LAST_OF_BANNER, Daemon, environment, run_lq

AT_ONCE_S = 5.0
"""Less than any time-out it could have waited for; most of it is Python's own start."""


def files(folder: Path) -> dict[str, bytes]:
    """Everything a daemon could have changed."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lq.lock"}


@pytest.fixture
def default_port() -> None:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 7420))
        except OSError:
            pytest.skip("something listens on 127.0.0.1:7420")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that nobody has configured."""
    daemon = Daemon(tmp_path, None, data=tmp_path / ".local" / "share" / "lq")
    yield daemon
    daemon.end()


@pytest.mark.usefixtures("default_port")
def test_it_needs_no_configuration_and_says_where_things_are(bare: Daemon) -> None:
    bare.launch()
    bare.wait_for(LAST_OF_BANNER)
    banner = bare.stderr
    assert f"is ready (pid {bare.pid})" in banner
    assert "api     http://127.0.0.1:7420/api/v1\n" in banner
    assert f"socket  {bare.socket}\n" in banner
    assert f"data    {bare.data}\n" in banner
    assert "config  none: all defaults\n" in banner
    assert "lq push --queue" in banner
    assert len(banner.splitlines()) <= 10
    assert {path.name for path in bare.data.iterdir()} >= {"lq.db", "secret", "lq.sock"}
    found = bare.cli("queues", "ls", "--json")
    assert (found.code, found.stdout.strip()) == (0, "[]")
    assert bare.stop().code == 0


def test_it_says_which_configuration_it_has_read(start: Start) -> None:
    daemon = start()
    assert f"config  {daemon.folder / 'lq.toml'}\n" in daemon.stderr


def test_each_data_folder_gets_a_secret_of_its_own(tmp_path: Path) -> None:
    secrets = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        daemon = Daemon(folder, 'listen = "127.0.0.1:0"\ndata_dir = "data"\n')
        try:
            daemon.start()
            secrets.append(daemon.secret())
            assert daemon.client.secret()["secret"] == daemon.secret()
            assert daemon.stop().code == 0
            assert daemon.start().secret() == secrets[-1]
        finally:
            daemon.end()
    assert secrets[0] != secrets[1]
    assert all(len(secret) >= 32 for secret in secrets)


@pytest.mark.parametrize("through", ["the same folder", "a symbolic link"])
def test_a_second_daemon_ends_at_once_and_names_the_first(
    lq: Daemon, endpoint: Endpoint, tmp_path: Path, through: str
) -> None:
    data = lq.data
    if through == "a symbolic link":
        data = tmp_path / "link"
        data.symlink_to(lq.data)
    environ = lq.environ | {"LQ_DATA_DIR": str(data), "LQ_SOCKET": str(tmp_path / "other.sock")}
    seconds = [run_lq("serve", cwd=tmp_path, environ=environ) for _ in range(3)]
    for second in seconds:
        assert second.code == 75
        assert f"pid {lq.pid} " in second.stderr
        assert "Traceback" not in second.stderr
    assert min(second.seconds for second in seconds) < AT_ONCE_S
    lq.client.push("q", b"1", target=endpoint.url())
    assert endpoint.next().body == b"1"


def test_two_daemons_cannot_share_a_port(start: Start, endpoint: Endpoint) -> None:
    first = start()
    address = first.url.removeprefix("http://")
    second = start(start=False, name="second", environ={"LQ_LISTEN": address})
    second.launch()
    assert second.wait().code == 75
    first.client.push("q", b"1", target=endpoint.url())
    assert endpoint.next().body == b"1"


def test_a_port_in_use_is_a_temporary_failure(start: Start) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        daemon = start(start=False, environ={"LQ_LISTEN": f"127.0.0.1:{port}"})
        daemon.launch()
        ended = daemon.wait()
    assert ended.code == 75
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not daemon.socket.exists()


@pytest.mark.parametrize("inside", ["", "below"])
def test_a_data_folder_that_is_none_is_a_wrong_configuration(tmp_path: Path, inside: str) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    environ = environment(tmp_path) | {"LQ_DATA_DIR": str(file / inside)}
    done = run_lq("serve", cwd=tmp_path, environ=environ)
    assert done.code == 78
    assert f"lq: LQ_DATA_DIR: data_dir {file / inside} is not a folder\nhint: " in done.stderr
    assert file.read_text() == "mine"


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xff not a database, but somebody's file\n" * 300)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def somebody_elses(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")


def damaged_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"\xde\xad\xbe\xef" * 8 + content[32:])


def damaged_page(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'")
        start = (page.fetchone()[0] - 1) * 4096
    content = bytearray(path.read_bytes())
    content[start : start + 512] = b"\x5a" * 512
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (garbage, "not a readable database"),
        (newer, "schema 99 > supported"),
        (somebody_elses, "another program"),
        (damaged_header, "not a readable database"),
        (damaged_page, "damaged"),
    ],
)
def test_a_database_it_cannot_trust_is_refused_and_left_alone(
    start: Start, spoil: Callable[[Path], None], says: str
) -> None:
    daemon = start()
    daemon.client.push("q", b"1", target="https://example.com/", delay_ms=3_600_000)
    assert daemon.stop().code == 0
    spoil(daemon.database)
    before = files(daemon.data)
    daemon.launch()
    ended = daemon.wait()
    assert ended.code == 65
    assert says in ended.stderr
    assert str(daemon.database) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert files(daemon.data) == before


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("[dispatch]\nconcurrency = 'many'", "lq.toml:7: [dispatch] concurrency: expected"),
        ("[dispatch]\nconcurency = 4", "lq.toml:7: [dispatch] concurency: unknown key"),
        ("nonsense = true", "lq.toml:6: nonsense: unknown key"),
        ("[dispatch", "lq.toml:6: not valid TOML"),
        ("[queues.mail]\ntarget = 'http://10.0.0.1/x'", "lq.toml:7: [queues.mail] target"),
        ("[queues.mail]\ntarget = 'mailto:ada'", "lq.toml:7: [queues.mail] target"),
    ],
)
def test_a_configuration_it_does_not_understand_is_refused_with_its_line(
    start: Start, config: str, says: str
) -> None:
    daemon = start(config, start=False)
    daemon.launch()
    ended = daemon.wait()
    assert ended.code == 78
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not daemon.database.exists()


def test_a_wrong_variable_is_refused_by_its_name(start: Start) -> None:
    daemon = start(start=False, environ={"LQ_DISPATCH_TIMEOUT": "soon"})
    daemon.launch()
    ended = daemon.wait()
    assert ended.code == 78
    assert "LQ_DISPATCH_TIMEOUT" in ended.stderr
    assert "soon" in ended.stderr


def test_a_configuration_that_is_named_must_be_there(tmp_path: Path) -> None:
    ended = run_lq("serve", "--config", "none.toml", cwd=tmp_path, environ=environment(tmp_path))
    assert ended.code == 78
    assert "none.toml" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("secret", "mode", "says"),
    [("s" * 40, 0o644, "other users"), ("short", 0o600, "too short"), ("", 0o600, "too short")],
)
def test_a_secret_that_is_none_is_refused(start: Start, secret: str, mode: int, says: str) -> None:
    daemon = start(start=False)
    path = daemon.data / "secret"
    path.write_text(secret)
    path.chmod(mode)
    daemon.launch()
    ended = daemon.wait()
    assert ended.code == 78
    assert says in ended.stderr
    assert path.read_text() == secret
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_folder_of_somebody_elses_files_is_not_taken_over(start: Start) -> None:
    daemon = start(start=False)
    (daemon.data / "secret").unlink()
    (daemon.data / "letters").mkdir()
    daemon.data.chmod(0o755)
    daemon.launch()
    ended = daemon.wait()
    assert ended.code != 0
    assert "holds other files" in ended.stderr
    assert stat.S_IMODE(daemon.data.stat().st_mode) == 0o755
    assert [path.name for path in daemon.data.iterdir()] == ["letters"]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux tells another's limits")
def test_there_is_a_file_for_all_that_may_be_open_at_once(start: Start) -> None:
    """Connections to lq; calls, and as many kept for http and https; HEADs that wait aside."""
    daemon = start(
        "limits.connections = 300\ndispatch.concurrency = 100",
        prefix=("sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh"),
    )
    soft, _ = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    assert soft >= 300 + 3 * 100 + MOST_ASIDE + 100
