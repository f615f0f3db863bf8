"""Files are replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from lq.errors import LqError
from lq.takeover import files


class Refused(Exception):
    """What a check found."""


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "lq.toml"
    path.write_bytes(b"old")
    path.chmod(0o640)
    seen: list[bytes] = []
    files.replace(path, b"old", b"new", lambda new: seen.append(new.read_bytes()))
    assert (path.read_bytes(), path.stat().st_mode & 0o7777, seen) == (b"new", 0o640, [b"new"])
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "lq.toml"
    files.replace(path, b"", b"new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_check_refuses_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "lq.toml"
    path.write_bytes(b"old")

    def refuse(_: Path) -> None:
        raise Refused

    with pytest.raises(Refused):
        files.replace(path, b"old", b"new", refuse)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_somebody_else_wrote_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "lq.toml"
    path.write_bytes(b"theirs")
    with pytest.raises(files.Changed, match="changed meanwhile"):
        files.replace(path, b"old", b"new")
    assert path.read_bytes() == b"theirs"


def test_what_a_killed_one_left_behind_goes(tmp_path: Path) -> None:
    path, other = tmp_path / "lq.toml", tmp_path / ".lq.toml.swp"
    other.write_bytes(b"an editor's")
    (tmp_path / ".lq.toml.lq-x1y2").write_bytes(b"half")
    files.replace(path, b"", b"new")
    assert sorted(tmp_path.iterdir()) == [other, path]


def test_a_copy_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "crontab.lq-saved"
    files.keep(path, b"first")
    with pytest.raises(LqError, match="there already"):
        files.keep(path, b"second")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"first", 0o600)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(LqError, match="cannot be written: No such file"):
        files.replace(tmp_path / "gone/lq.toml", b"", b"new")
    with pytest.raises(LqError, match="cannot be read: Is a directory"):
        files.read(tmp_path)
