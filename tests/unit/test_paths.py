"""Where lq looks for its configuration and its socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from lq.errors import ConfigError
from lq.paths import MAX_SOCKET_BYTES, default_data_dir, find_socket, places, read_config, searched


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory and the home."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_configuration_found_is_read(here: Path) -> None:
    environ = {"HOME": str(here), "XDG_CONFIG_HOME": str(here / "xdg")}
    candidates = [here / "given.toml", here / "named.toml", *searched(environ)[:2]]
    for number, path in reversed([*enumerate(candidates)]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"number = {number}")
        named = {"LQ_CONFIG": str(candidates[1])} if number <= 1 else {}
        given = str(candidates[0]) if number == 0 else None
        source = read_config(given, environ | named)
        assert source is not None
        assert source.table == {"number": number}


def test_without_a_file_there_is_no_source(here: Path) -> None:
    assert read_config(None, {"HOME": str(here)}) is None


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_file_that_is_named_must_be_there(here: Path, by: str) -> None:
    given = "none.toml" if by == "option" else None
    environ = {} if given else {"LQ_CONFIG": "none.toml"}
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read: No such file") as raised:
        read_config(given, environ)
    assert ("--config" if given else "LQ_CONFIG") in str(raised.value.hint)


def test_a_folder_in_place_of_a_file_is_refused(here: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        read_config(str(here), {})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/home/ada"}, "/home/ada/.local/share/lq"),
        ({"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}, "/data/lq"),
        ({"HOME": "/home/ada", "XDG_DATA_HOME": "relative"}, "/home/ada/.local/share/lq"),
    ],
)
def test_the_data_folder_follows_xdg(environ: dict[str, str], expected: str) -> None:
    assert default_data_dir(environ) == Path(expected)


def test_paths_in_a_file_start_at_its_folder(here: Path) -> None:
    folder = here / "etc"
    folder.mkdir()
    (folder / "lq.toml").write_text('data_dir = "../data"\nsocket = "~/s"')
    source = read_config("etc/lq.toml", {})
    found = places(source, {"HOME": "/home/ada"})
    assert found.data_dir == here / "data"
    assert found.sockets == (Path("/home/ada/s"),)


def test_paths_in_variables_start_here_and_win(here: Path) -> None:
    (here / "lq.toml").write_text('data_dir = "elsewhere"')
    source = read_config(None, {})
    assert places(source, {"LQ_DATA_DIR": "data"}).data_dir == here / "data"


def test_the_socket_lies_in_the_data_folder() -> None:
    assert places(None, {"LQ_DATA_DIR": "/data"}).sockets == (Path("/data/lq.sock"),)


def test_a_long_data_folder_has_a_short_socket(tmp_path: Path) -> None:
    long, other = f"/{'d' * MAX_SOCKET_BYTES}", f"/{'e' * MAX_SOCKET_BYTES}"
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    first = places(None, environ | {"LQ_DATA_DIR": long}).sockets
    assert first[0].parent == tmp_path
    assert first == places(None, environ | {"LQ_DATA_DIR": long}).sockets
    assert first[0] != places(None, environ | {"LQ_DATA_DIR": other}).sockets[0]


def test_a_short_socket_is_found_whatever_the_session(tmp_path: Path) -> None:
    runtime, temporary = tmp_path / "run", tmp_path / "tmp"
    runtime.mkdir()
    temporary.mkdir()
    environ = {"LQ_DATA_DIR": f"/{'d' * MAX_SOCKET_BYTES}", "TMPDIR": str(temporary)}
    cron = places(None, environ).sockets
    served = next(path for path in cron if path.parent == temporary)
    served.touch()
    login = environ | {"XDG_RUNTIME_DIR": str(runtime)}
    assert places(None, login).sockets[0].parent == runtime
    assert find_socket(None, login) == served


def test_a_socket_that_is_too_long_is_refused(here: Path) -> None:
    (here / "lq.toml").write_text(f'socket = "/{"s" * MAX_SOCKET_BYTES}"')
    with pytest.raises(ConfigError, match=rf"at most {MAX_SOCKET_BYTES}$"):
        find_socket(None, {})
    fits = "/" + "s" * (MAX_SOCKET_BYTES - 1)
    assert find_socket(None, {"LQ_SOCKET": fits}) == Path(fits)


def test_the_length_of_a_socket_is_that_of_its_bytes(here: Path) -> None:
    with pytest.raises(ConfigError, match="bytes long"):
        find_socket(None, {"LQ_SOCKET": "/" + "ü" * (MAX_SOCKET_BYTES // 2 + 1)})


@pytest.mark.parametrize("value", ["3", '""', "[]"])
def test_a_path_that_is_none_is_refused(here: Path, value: str) -> None:
    (here / "lq.toml").write_text(f"data_dir = {value}")
    with pytest.raises(ConfigError, match=r"lq\.toml: data_dir: expected a path"):
        find_socket(None, {})
