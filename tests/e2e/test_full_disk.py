"""A disk that is full, or fails: nothing is lost, nothing runs twice, and it says so."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lq.client import ApiError, Unreachable

from .conftest import Start
from .endpoint import Endpoint
from .process import LAST_OF_BANNER, Daemon, wait_until

SIZE = 4 << 20


def push_for_ever(daemon: Daemon, payload: bytes, acknowledged: list[str]) -> None:
    while True:
        pushed = daemon.client.push(
            "fill", payload, target="https://example.com/", delay_ms=3_600_000
        )
        acknowledged.append(pushed["id"])


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, daemon: Daemon) -> None:
        """Leave no byte, in the database's own files neither."""
        with self._ballast.open("wb", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(b"\0" * 4096)
        for size in (100_000, 10_000, 1_000, 1):
            with pytest.raises(ApiError) as refusal:
                push_for_ever(daemon, b"x" * size, [])
            assert (refusal.value.status, refusal.value.type) == (507, "STORAGE_FULL")

    def make_room(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(folder)]
    if not mount or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def lq(disk: Disk, start: Start, endpoint: Endpoint) -> Daemon:
    """A daemon whose data is on the small disk."""
    data = disk.folder / "data"
    data.mkdir(mode=0o700)
    secret = data / "secret"
    secret.touch(mode=0o600)
    secret.write_text(endpoint.secret)
    return start(data=data, environ={"LQ_DATA_DIR": str(data)})


def count(daemon: Daemon) -> int:
    return sum(queue["pending"] for queue in daemon.client.queues())


def outcomes(daemon: Daemon, item: str) -> list[tuple[int, str]]:
    return [(one["n"], one["outcome"]) for one in daemon.client.attempts(item)]


def test_a_full_disk_refuses_pushes_and_answers_reads(
    disk: Disk, lq: Daemon, endpoint: Endpoint
) -> None:
    done = lq.client.push("q", b"1", target=endpoint.url())["id"]
    endpoint.next()
    wait_until(lambda: lq.client.item(done)["state"] == "COMPLETED")
    waits = lq.client.push("q", b"1", target=endpoint.url(), key="k", delay_ms=3_600_000)["id"]
    disk.fill(lq)
    stored = count(lq)
    for key in (None, "k", "new"):
        with pytest.raises(ApiError) as refusal:
            lq.client.push("q", b"2" * 10_000, target=endpoint.url(), key=key)
        assert refusal.value.status == 507
    assert count(lq) == stored
    assert lq.client.item(done)["state"] == "COMPLETED"
    assert outcomes(lq, done) == [(1, "succeeded")]
    assert [item["id"] for item in lq.client.history(queue="q")["items"]] == [done]
    assert [item["id"] for item in lq.client.items("q")["items"]] == [waits]
    assert "no room" in " ".join(lq.client.ready()["reasons"])

    disk.make_room()
    item = lq.client.push("q", b"2", target=endpoint.url())["id"]
    assert endpoint.next().id == item
    assert lq.client.ready() == {"status": "ok"}
    assert lq.stop().code == 0
    assert "Traceback" not in lq.stderr


def test_a_result_that_has_no_room_is_kept_until_there_is(
    disk: Disk, lq: Daemon, endpoint: Endpoint
) -> None:
    gate = endpoint.hold("/held")
    held = lq.client.push("q", b"1", target=endpoint.url("/held"))["id"]
    endpoint.next()
    soon = lq.client.push("other", b"1", target=endpoint.url(), delay_ms=10_000)["id"]
    disk.fill(lq)
    gate.set()
    lq.wait_for(f"cannot record job {held} yet")
    assert "results could not be stored" in " ".join(lq.client.ready()["reasons"])
    assert lq.client.item(held)["state"] == "RUNNING"
    assert endpoint.none_left()

    disk.make_room()
    wait_until(lambda: lq.client.item(held)["state"] == "COMPLETED")
    assert outcomes(lq, held) == [(1, "succeeded")]
    lq.client.run(soon)
    assert endpoint.next().id == soon
    assert endpoint.none_left()
    assert lq.client.ready() == {"status": "ok"}


def test_what_becomes_due_on_a_full_disk_starts_when_there_is_room_and_is_logged_once(
    disk: Disk, lq: Daemon, endpoint: Endpoint
) -> None:
    lq.client.pause("q")
    due = lq.client.push("q", b"1", target=endpoint.url())["id"]
    later = lq.client.push("later", b"1", target=endpoint.url(), delay_ms=500)["id"]
    disk.fill(lq)
    lq.wait_for("cannot start jobs")
    time.sleep(1.5)  # it tries twice a second
    assert lq.stderr.count("cannot start jobs") == 1
    assert endpoint.none_left()
    disk.make_room()
    assert endpoint.next().id == later
    lq.client.resume("q")
    assert endpoint.next().id == due


def test_it_starts_on_a_full_disk_and_gives_back_orphans_once_there_is_room(
    disk: Disk, lq: Daemon, endpoint: Endpoint
) -> None:
    endpoint.hold_first("/held")
    held = lq.client.push("q", b"1", target=endpoint.url("/held"))["id"]
    endpoint.next()
    endpoint.hold("/cancelled")
    cancelled = lq.client.push("q", b"1", target=endpoint.url("/cancelled"))["id"]
    endpoint.next()
    lq.client.cancel(cancelled)
    disk.fill(lq)
    lq.kill()
    lq.launch()
    lq.wait_for(LAST_OF_BANNER)
    lq.wait_for(f"cannot record job {held} yet")
    assert "results could not be stored" in " ".join(lq.client.ready()["reasons"])
    assert lq.client.item(held)["state"] == "RUNNING"
    assert endpoint.none_left()
    disk.make_room()
    assert endpoint.next().id == held
    wait_until(lambda: lq.client.item(held)["state"] == "COMPLETED")
    assert outcomes(lq, held) == [(1, "interrupted"), (1, "succeeded")]


def test_a_second_signal_stops_it_although_a_result_has_no_room(
    disk: Disk, lq: Daemon, endpoint: Endpoint
) -> None:
    gate = endpoint.hold("/held")
    held = lq.client.push("q", b"1", target=endpoint.url("/held"))["id"]
    endpoint.next()
    disk.fill(lq)
    gate.set()
    lq.wait_for("cannot record")
    lq.send(signal.SIGTERM)
    lq.wait_for("stopping")
    assert lq.stop().code == 0
    assert "Traceback" not in lq.stderr
    disk.make_room()
    lq.start()
    assert endpoint.next().id == held
    wait_until(lambda: lq.client.item(held)["state"] == "COMPLETED")
    assert outcomes(lq, held) == [(1, "interrupted"), (1, "succeeded")]


def test_a_disk_that_fails_ends_it_with_all_that_was_acknowledged(start: Start) -> None:
    blocks = SIZE // 512
    limited = ("sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh")
    daemon = start(prefix=limited)
    acknowledged: list[str] = []
    # What a file may not grow beyond looks to SQLite like a disk that cannot be written.
    with pytest.raises((ApiError, Unreachable)) as failure:
        push_for_ever(daemon, b"x" * 100_000, acknowledged)
    ended = daemon.wait()
    assert ended.code == 74, failure.value
    assert "the disk failed" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert 10 < len(acknowledged) < SIZE // 100_000

    after = start(name="after", data=daemon.data, environ={"LQ_DATA_DIR": str(daemon.data)})
    found = after.client.items("fill", limit=1000)["items"]
    assert {item["id"] for item in found} >= set(acknowledged)
