"""The signing secret: a file of its own in the data folder, mode 0600, made at the first start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from lq.errors import ConfigError, StartError
from lq.signature import new_secret


def load_secret(folder: Path) -> str:
    """Read the secret, or make one that no crash can leave half written.

    Raises: ConfigError when what is there cannot be a secret; StartError when it cannot be read.
    """
    path = folder / "secret"
    try:
        if not path.exists():
            _write(path, new_secret(secrets.token_bytes(32)))
        secret = path.read_text("utf-8").strip()
        readable_by_others = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"cannot read the signing secret {path}: {error}") from error
    if readable_by_others:
        raise ConfigError(
            f"the signing secret {path} can be read by other users",
            hint=f"chmod 600 {path}; if others may have read it, delete it and start lq for a"
            " new one, which handlers then need",
        )
    if len(secret) < 32:
        raise ConfigError(
            f"the signing secret {path} is too short: expected at least 32 characters",
            hint="remove the file to have a new one made; handlers then need the new one",
        )
    return secret


def _write(path: Path, secret: str) -> None:
    fresh = path.with_name("secret.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
