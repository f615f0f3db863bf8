"""Whose files are run: nothing that anybody else than root and lq's own user could change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lq.scriptlets import Scriptlet, refusal

ROOT = os.geteuid() == 0


def program(path: Path, first: str = "#!/bin/sh") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{first}\n")
    path.chmod(0o755)
    return path


def fault(path: Path, **members: object) -> str | None:
    scriptlet = Scriptlet(name="x", command=(str(path),), where="here", **members)  # type: ignore[arg-type]
    return refusal(scriptlet)


def test_what_only_its_owner_can_change_is_run(tmp_path: Path) -> None:
    assert fault(program(tmp_path / "a/b/x")) is None
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "a/b/x")
    assert fault(link) is None
    assert fault(Path("/bin/sh")) is None


@pytest.mark.parametrize("mode", [0o757, 0o777])
def test_a_file_or_folder_that_others_can_write_is_not(tmp_path: Path, mode: int) -> None:
    path = program(tmp_path / "a/b/x")
    for one in (path, path.parent, path.parent.parent):
        before = one.stat().st_mode
        one.chmod(mode)
        assert f"EPERM {one} can be written by others" in (fault(path) or "")
        one.chmod(before)
    assert fault(path) is None


def test_each_link_on_the_way_is_looked_at(tmp_path: Path) -> None:
    path = program(tmp_path / "safe/x")
    (tmp_path / "open").mkdir()
    middle = tmp_path / "open/middle"
    middle.symlink_to(path)
    first = tmp_path / "first"
    first.symlink_to("open/../open/middle")
    assert fault(first) is None
    (tmp_path / "open").chmod(0o777)
    assert f"EPERM {tmp_path}/open can be written" in (fault(first) or "")


def test_links_in_a_circle_are_said(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "symbolic links" in (fault(tmp_path / "a") or "")


def test_in_a_shared_folder_what_is_ones_own_is_safe(tmp_path: Path) -> None:
    path = program(tmp_path / "shared/x")
    path.parent.chmod(0o1777)
    assert fault(path) is None


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_not_run(tmp_path: Path) -> None:
    path = program(tmp_path / "a/x")
    os.chown(path, 65534, 65534)
    assert "belongs to user 65534" in (fault(path) or "")
    os.chown(path, 0, 0)
    os.chown(path.parent, 65534, 65534)
    assert "belongs to user 65534" in (fault(path) or "")
    os.chown(path.parent, 0, 0)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "link").symlink_to(path)
    os.chown(shared / "link", 65534, 65534, follow_symlinks=False)
    assert "belongs to user 65534" in (fault(shared / "link") or "")


def test_an_interpreter_is_held_to_the_same(tmp_path: Path) -> None:
    interpreter = tmp_path / "open/interpreter"
    interpreter.parent.mkdir()
    interpreter.write_bytes(Path("/bin/true").read_bytes())
    interpreter.chmod(0o755)
    path = program(tmp_path / "x", f"#!{interpreter} -u")
    named = program(tmp_path / "y", "#!/usr/bin/env -S interpreter -u")
    where = {"PATH": f"{interpreter.parent}:/bin"}
    assert (fault(path), fault(named, env=where)) == (None, None)
    interpreter.parent.chmod(0o777)
    for one in (fault(path), fault(named, env=where)):
        assert f"EPERM {interpreter.parent} can be written by others" in (one or "")
    assert "asks for interpreter, which is not there" in (fault(named) or "")
