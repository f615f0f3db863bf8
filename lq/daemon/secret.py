"""The ring of signing secrets, and the file that holds it: one, mode 0600, in the data folder.

Owns: which secrets are live, the newest first; the oldest retire by themselves when their time
is over. Never logs or shows a secret, never says who may see one.

Invariant: what is in force is in the file, and the file is replaced whole: no crash leaves less
than one secret. A single secret is a single line, which is all that the file holds until the
first rotation; each older one has a line `SECRET until INSTANT`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from lq.clock import Clock
from lq.daemon.cipher import Seal, is_sealed
from lq.errors import (
    ConfigError,
    Conflict,
    RequestError,
    StartError,
    StorageFull,
    Unavailable,
)
from lq.model import Secret
from lq.signature import new_secret
from lq.when import describe_instant, format_instant, parse_rfc3339

log = logging.getLogger(__name__)

MOST_LIVE: Final = 3
"""Each live secret is one more signature in every call, and one more try in every check."""

_SHORTEST: Final = 32  # characters
_UNTIL: Final = " until "
_LOOK_AGAIN_MS: Final = 60_000
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Ring:
    """The live secrets. `run` takes those whose time is over out of the file, too."""

    def __init__(
        self,
        file: SecretFile,
        secrets: Sequence[Secret],
        clock: Clock,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._file = file
        self._clock = clock
        self._entropy = entropy
        self._written = tuple(secrets)
        self._changed = asyncio.Event()
        self._take(self._written)

    @property
    def newest(self) -> str:
        """The one that signs, unless an endpoint is known to know another."""
        return self._held[0].text

    def secrets(self) -> tuple[Secret, ...]:
        """The live ones, the newest first."""
        self._let_retire()
        return self._held

    def live(self) -> tuple[str, ...]:
        """The same as bare texts: the very same tuple until something changes."""
        self._let_retire()
        return self._texts

    def rotate(self, overlap_ms: int) -> None:
        """Make a new secret; the one that was the newest stays valid for the overlap.

        Shape: with an overlap of 0 no other is valid from now on. Raises: Conflict when too many
        are live; StorageFull, Unavailable when the file cannot be written; then nothing has
        changed.
        """
        now = self._clock.now()
        present, *older = self.secrets()
        if overlap_ms <= 0:
            older = []
        else:
            if len(older) + 2 > MOST_LIVE:
                first = min(secret.until for secret in older if secret.until is not None)
                raise Conflict(
                    f"{MOST_LIVE} secrets are live, which is the most; the next one retires"
                    f" {describe_instant(first, now)}",
                    hint="`lq secret revoke-old` retires all but the newest at once",
                )
            older.insert(0, Secret(present.text, now + overlap_ms))
        self._put((Secret(new_secret(self._entropy(32))), *older))
        log.info("the signing secret was rotated; live are now %d", len(self._held))

    def revoke_old(self) -> None:
        """Retire all but the newest at once. Raises: as `rotate`."""
        newest, *older = self.secrets()
        if older:
            self._put((newest,))
            log.info("older signing secrets were revoked: %d", len(older))

    async def run(self) -> None:
        """Take what has retired out of the file."""
        while True:
            self._changed.clear()
            held = self.secrets()
            if held != self._written:
                try:
                    self._put(held)
                except (StorageFull, Unavailable) as error:
                    log.warning("a retired signing secret is still on disk: %s", error.message)
            ends = [secret.until for secret in self._written if secret.until is not None]
            if not ends:
                await self._changed.wait()
            else:
                wait_ms = min(ends) - self._clock.now()
                # In steps, because timers stand still while the machine sleeps.
                wait_ms = wait_ms if 0 < wait_ms < _LOOK_AGAIN_MS else _LOOK_AGAIN_MS
                await self._clock.wait(self._changed, wait_ms)

    def _let_retire(self) -> None:
        if len(self._held) > 1:
            now = self._clock.now()
            live = tuple(s for s in self._held if s.until is None or s.until > now)
            if len(live) < len(self._held):
                self._take(live)

    def _put(self, secrets: tuple[Secret, ...]) -> None:
        # On the event loop on purpose: some milliseconds once in months, and nothing comes
        # between what is written and what is in force.
        self._file.write(secrets)
        self._written = secrets
        self._take(secrets)

    def _take(self, secrets: tuple[Secret, ...]) -> None:
        self._held = secrets
        self._texts = tuple(secret.text for secret in secrets)
        self._changed.set()


class SecretFile:
    """The file. With a seal it is encrypted."""

    def __init__(
        self, path: Path, seal: Seal | None, sync: Callable[[int], None] = os.fsync
    ) -> None:
        self._path = path
        self._seal = seal
        self._sync = sync

    def read(self) -> tuple[Secret, ...]:
        """All it holds. A plain one is encrypted now, if there is a seal.

        Raises: ConfigError when what is there is not what it should be; StartError when it cannot
        be read.
        """
        path = self._path
        try:
            content = path.read_text("utf-8").strip()
            loose = path.stat().st_mode & 0o077
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"cannot read the signing secret {path}: {error}") from error
        if loose:
            raise ConfigError(
                f"the signing secret {path} can be read by other users",
                hint=f"chmod 600 {path}; if others may have read it, delete it and start lq for a"
                " new one, which handlers then need",
            )
        if not is_sealed(content):
            secrets = self._parsed(content)
            if self._seal:
                self.write(secrets)
                log.info("the signing secret %s was plain text, and is encrypted now", path)
            return secrets
        if self._seal is None:
            raise ConfigError(
                f"the signing secret {path} is encrypted, and no key is configured",
                hint="set key_file or credential in [secrets] to what it was encrypted with",
            )
        return self._parsed(self._seal.open(content).decode())

    def write(self, secrets: Sequence[Secret]) -> None:
        """Replace it so that no crash can leave it half written.

        Raises: StorageFull, Unavailable.
        """
        lines = "\n".join(map(_line, secrets))
        content = self._seal.close(lines.encode()) if self._seal else lines
        try:
            self._replace(f"{content}\n")
        except OSError as error:
            text = f"cannot write the signing secret {self._path}: {error.strerror}"
            if error.errno in _FULL:
                raise StorageFull(text, hint="make room; nothing was changed") from error
            raise Unavailable(text, hint="nothing was changed") from error

    def _replace(self, content: str) -> None:
        """Raises: OSError; then the file is what it was."""
        fresh = self._path.with_name("secret.new")
        fresh.unlink(missing_ok=True)  # what a crash has left, whatever its mode
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(fd, "w", encoding="utf-8") as file:
                    file.write(content)
                    file.flush()
                    self._sync(file.fileno())
                fresh.rename(self._path)
            except OSError:
                fresh.unlink(missing_ok=True)
                raise
            try:
                self._sync(folder)
            except OSError as error:  # it is replaced all the same, and so has to be in force
                log.warning(
                    "the signing secret %s was replaced, but a loss of power may bring the file"
                    " before it back: %s", self._path, error.strerror,
                )  # fmt: skip
        finally:
            os.close(folder)

    def _parsed(self, content: str) -> tuple[Secret, ...]:
        newest, *older = content.split("\n")
        secrets = [Secret(newest.strip())]
        for line in older:
            text, _, until = line.rpartition(_UNTIL)
            try:
                secrets.append(Secret(text, parse_rfc3339(until)))
            except ValueError:  # which quotes the line
                raise self._not_secrets("has a line that is not SECRET until INSTANT") from None
        if any(len(secret.text) < _SHORTEST for secret in secrets):
            raise self._not_secrets(f"is too short: expected at least {_SHORTEST} characters")
        if not all(secret.text.isprintable() for secret in secrets):
            raise self._not_secrets("has control characters")
        return tuple(secrets)

    def _not_secrets(self, why: str) -> ConfigError:
        return ConfigError(
            f"the signing secret {self._path} {why}",
            hint="remove the file to have a new one made; handlers then need the new one",
        )


def open_ring(folder: Path, clock: Clock, seal: Seal | None = None) -> Ring:
    """The ring of a data folder, made at the first start. Raises: ConfigError, StartError."""
    path = folder / "secret"
    file = SecretFile(path, seal)
    try:
        if not path.exists():
            file.write([Secret(new_secret(os.urandom(32)))])
        return Ring(file, file.read(), clock)
    except (OSError, RequestError) as error:
        raise StartError(f"cannot open the signing secret {path}: {error}") from error


def _line(secret: Secret) -> str:
    if secret.until is None:
        return secret.text
    return f"{secret.text}{_UNTIL}{format_instant(secret.until)}"
