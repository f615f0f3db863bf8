"""The ring of signing secrets and its file: rotation, retirement, what is refused."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lq.daemon.cipher import Seal
from lq.daemon.secret import MOST_LIVE, Ring, SecretFile, open_ring
from lq.errors import ConfigError, Conflict, StartError, Unavailable
from lq.model import Secret
from tests.clock import START, FakeClock
from tests.support.home import eventually

DAY = 86_400_000
OLD = "lqs_" + "5a" * 32
KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def put(path: Path, content: str | bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def texts(ring: Ring) -> list[str]:
    return [secret.text for secret in ring.secrets()]


# The file


def test_the_first_start_makes_a_secret_of_256_bits(tmp_path: Path, clock: FakeClock) -> None:
    before = os.umask(0)
    try:
        ring = open_ring(tmp_path, clock)
    finally:
        os.umask(before)
    path = tmp_path / "secret"
    assert path.read_text() == f"{ring.newest}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(ring.newest.removeprefix("lqs_"))) == 32
    assert open_ring(tmp_path, clock).secrets() == (Secret(ring.newest),)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " \n"])
def test_a_secret_of_a_single_line_is_read(path: Path, clock: FakeClock, end: str) -> None:
    put(path, OLD + end)
    assert texts(open_ring(path.parent, clock)) == [OLD]


def test_what_a_crash_has_left_beside_it_does_no_harm(path: Path, clock: FakeClock) -> None:
    put(path, OLD)
    fresh = path.with_name("secret.new")
    fresh.touch(mode=0o644)
    open_ring(path.parent, clock).rotate(DAY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not fresh.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "too short"),
        ("short", "too short"),
        (f"{OLD}\nshort until 2027-01-01T00:00:00Z", "too short"),
        (f"{OLD}\n{OLD}", "not SECRET until INSTANT"),
        (f"{OLD}\n{OLD} until", "not SECRET until INSTANT"),
        (f"{OLD}\n{OLD} until tomorrow", "not SECRET until INSTANT"),
        (f"{OLD}\n\n{OLD} until 2027-01-01T00:00:00Z", "not SECRET until INSTANT"),
        (f"{OLD}\x00", "control characters"),
        (f"{OLD}\t{OLD}", "control characters"),
    ],
)
def test_what_is_no_secret_is_refused_and_left_alone(
    path: Path, clock: FakeClock, content: str, says: str
) -> None:
    put(path, content)
    with pytest.raises(ConfigError, match=says) as refused:
        open_ring(path.parent, clock)
    assert OLD not in str(refused.value)
    assert path.read_text() == content


def test_what_is_no_text_cannot_be_read(path: Path, clock: FakeClock) -> None:
    put(path, b"\xff" * 40)
    with pytest.raises(StartError, match="cannot read"):
        open_ring(path.parent, clock)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(path: Path, clock: FakeClock, mode: int) -> None:
    put(path, OLD)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="other users"):
        open_ring(path.parent, clock)


def test_printing_a_record_shows_no_secret() -> None:
    assert OLD not in f"{Secret(OLD)!r} {Secret(OLD, START)}"


# Rotation


def test_a_rotated_secret_is_valid_to_the_end_of_its_overlap(path: Path, clock: FakeClock) -> None:
    put(path, OLD)
    ring = open_ring(path.parent, clock)
    ring.rotate(DAY)
    assert ring.newest != OLD
    assert ring.secrets() == (Secret(ring.newest), Secret(OLD, START + DAY))
    assert ring.live() == (ring.newest, OLD)
    assert ring.live() is ring.live()
    clock.advance(DAY - 1)
    assert ring.live() == (ring.newest, OLD)
    clock.advance(1)
    assert ring.live() == (ring.newest,)
    clock.step(-DAY)  # what has retired does not come back
    assert ring.live() == (ring.newest,)


def test_a_restart_changes_nothing(path: Path, clock: FakeClock) -> None:
    put(path, OLD)
    ring = open_ring(path.parent, clock)
    ring.rotate(DAY)
    ring.rotate(3_600_000)
    again = open_ring(path.parent, clock)
    assert again.secrets() == ring.secrets()
    assert path.read_text().splitlines()[1:] == [
        f"{ring.live()[1]} until 2027-01-15T09:00:00.000Z",
        f"{OLD} until 2027-01-16T08:00:00.000Z",
    ]
    clock.advance(3_600_000)
    assert open_ring(path.parent, clock).live() == (ring.newest, OLD)


def test_without_an_overlap_the_old_one_ends_at_once(path: Path, clock: FakeClock) -> None:
    put(path, OLD)
    ring = open_ring(path.parent, clock)
    ring.rotate(0)
    assert texts(ring) == [ring.newest]
    assert OLD not in path.read_text()


def test_without_an_overlap_all_older_ones_end_at_once(path: Path, clock: FakeClock) -> None:
    put(path, OLD)
    ring = open_ring(path.parent, clock)
    ring.rotate(DAY)
    ring.rotate(2 * DAY)
    ring.rotate(0)
    assert ring.live() == (ring.newest,)
    assert path.read_text() == f"{ring.newest}\n"


def test_only_a_few_are_live_at_a_time(path: Path, clock: FakeClock) -> None:
    put(path, OLD)
    ring = open_ring(path.parent, clock)
    ring.rotate(DAY)
    ring.rotate(2 * DAY)
    before, content = ring.secrets(), path.read_bytes()
    assert len(before) == MOST_LIVE
    with pytest.raises(Conflict, match=r"2027-01-16 .* \(in 1 day\)") as refused:
        ring.rotate(DAY)
    assert "revoke-old" in (refused.value.hint or "")
    assert (ring.secrets(), path.read_bytes()) == (before, content)
    clock.advance(DAY)
    ring.rotate(DAY)
    assert len(ring.secrets()) == MOST_LIVE


def test_old_ones_can_be_revoked(path: Path, clock: FakeClock) -> None:
    put(path, OLD)
    ring = open_ring(path.parent, clock)
    ring.revoke_old()
    assert texts(ring) == [OLD]
    ring.rotate(DAY)
    ring.rotate(DAY)
    ring.revoke_old()
    assert path.read_text() == f"{ring.newest}\n"
    assert texts(ring) == [ring.newest]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Ring], None]]:
    """Lets rings do what they do while a daemon lives."""
    async with asyncio.TaskGroup() as services:
        tasks = []
        yield lambda ring: tasks.append(services.create_task(ring.run()))
        for task in tasks:
            task.cancel()


async def test_what_has_retired_is_taken_off_the_disk(
    path: Path, clock: FakeClock, serve: Callable[[Ring], None]
) -> None:
    put(path, OLD)
    ring = open_ring(path.parent, clock)
    serve(ring)
    ring.rotate(120_000)

    async def waits() -> bool:
        assert await holds_the_old(path)
        return clock.waiting == 1

    for _ in range(3):
        await eventually(waits)
        clock.advance(40_000)
    await eventually(lambda: lacks_the_old(path))
    assert texts(open_ring(path.parent, clock)) == [ring.newest]


async def test_what_has_retired_while_lq_was_down_is_taken_off_at_its_start(
    path: Path, clock: FakeClock, serve: Callable[[Ring], None]
) -> None:
    put(path, OLD)
    open_ring(path.parent, clock).rotate(DAY)
    assert await holds_the_old(path)
    clock.advance(DAY)
    serve(open_ring(path.parent, clock))
    await eventually(lambda: lacks_the_old(path))


async def holds_the_old(path: Path) -> bool:
    return OLD in await asyncio.to_thread(path.read_text)


async def lacks_the_old(path: Path) -> bool:
    return not await holds_the_old(path)


def test_a_rotation_that_cannot_be_written_changes_nothing(path: Path, clock: FakeClock) -> None:
    put(path, OLD)
    ring = open_ring(path.parent, clock)
    path.with_name("secret.new").mkdir()  # where it would be written
    with pytest.raises(Unavailable, match="cannot write"):
        ring.rotate(DAY)
    assert texts(ring) == [OLD]
    assert path.read_text() == OLD


class Sync:
    """Writes through to a disk that breaks at the nth time."""

    def __init__(self, breaks_at: int) -> None:
        self._left = breaks_at

    def __call__(self, fd: int) -> None:
        self._left -= 1
        if self._left == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(fd)


def test_a_disk_that_breaks_leaves_nothing_beside_the_file(path: Path, clock: FakeClock) -> None:
    put(path, OLD)
    ring = Ring(SecretFile(path, None, Sync(1)), [Secret(OLD)], clock)
    with pytest.raises(Unavailable, match="cannot write") as refused:
        ring.rotate(DAY)
    assert refused.value.hint == "nothing was changed"
    assert (texts(ring), path.read_text()) == ([OLD], OLD)
    assert list(path.parent.iterdir()) == [path]


def test_what_has_been_replaced_is_in_force_even_if_it_may_not_last(
    path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    put(path, OLD)
    ring = Ring(SecretFile(path, None, Sync(2)), [Secret(OLD)], clock)
    ring.rotate(DAY)
    assert ring.secrets() == open_ring(path.parent, clock).secrets()
    assert ring.newest != OLD
    assert "a loss of power may bring the file before it back" in caplog.text


# Encryption


@pytest.fixture
def seal() -> Seal:
    return Seal(KEY, "lq.toml:1: [secrets] key_file")


def test_a_plain_file_is_encrypted_at_the_next_start(
    path: Path, clock: FakeClock, seal: Seal, caplog: pytest.LogCaptureFixture
) -> None:
    put(path, OLD)
    caplog.set_level("INFO", "lq")
    ring = open_ring(path.parent, clock, seal)
    assert "is encrypted now" in caplog.text
    assert OLD not in caplog.text
    assert OLD not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ring.rotate(DAY)
    assert ring.newest not in path.read_text()
    caplog.clear()
    assert open_ring(path.parent, clock, seal).secrets() == ring.secrets()
    assert caplog.text == ""


def test_a_new_secret_is_encrypted_from_the_start(path: Path, clock: FakeClock, seal: Seal) -> None:
    ring = open_ring(path.parent, clock, seal)
    assert ring.newest not in path.read_text()
    assert open_ring(path.parent, clock, seal).newest == ring.newest


def test_an_encrypted_file_is_refused_without_its_key(
    path: Path, clock: FakeClock, seal: Seal
) -> None:
    open_ring(path.parent, clock, seal)
    sealed = path.read_bytes()
    with pytest.raises(ConfigError, match="no key is configured"):
        open_ring(path.parent, clock)
    other = Seal(bytes(32), "lq.toml:1: [secrets] key_file")
    with pytest.raises(ConfigError, match="this key does not open"):
        open_ring(path.parent, clock, other)
    assert path.read_bytes() == sealed


@given(st.binary(max_size=200), st.data())
def test_what_was_changed_on_disk_does_not_open(plain: bytes, data: st.DataObject) -> None:
    seal = Seal(KEY, "here")
    sealed = seal.close(plain)
    assert seal.open(sealed) == plain
    at = data.draw(st.integers(sealed.index(":") + 1, len(sealed) - 1))
    other = data.draw(st.sampled_from("AQgw09+/=\u00e9"))
    changed = sealed[:at] + other + sealed[at + 1 :]
    assume(_decoded(changed) != _decoded(sealed))  # base64 has spare bits at its end
    with pytest.raises(ConfigError, match="here: this key does not open"):
        seal.open(changed)


def _decoded(sealed: str) -> bytes | None:
    try:
        return base64.b64decode(sealed.partition(":")[2], validate=True)
    except ValueError:
        return None


def test_equal_secrets_are_not_sealed_alike() -> None:
    seal = Seal(KEY, "here")
    assert seal.close(b"same") != seal.close(b"same")
