"""Builds the single file: `python packaging/build.py FILE`.

PyInstaller gathers a Python, lq and what lq needs in a folder; here that becomes one file, a shell
script with the packed folder behind it. The same input gives the same list of files, in one order
and with one date.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def gather(work: Path) -> Path:
    """Have PyInstaller make the folder with the program in it."""
    where = ["--distpath", str(work / "dist"), "--workpath", str(work / "build")]
    options = ["--noconfirm", "--clean", "--log-level", "WARN", *where]
    command = [sys.executable, "-m", "PyInstaller", *options, str(HERE / "lq.spec")]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run(command, check=True, env=environ)  # noqa: S603 (a command of our own)
    return work / "dist" / "lq"


def packed(folder: Path) -> bytes:
    """A folder as one archive, root's own and without dates."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for path in sorted(folder.rglob("*")):
            entry = archive.gettarinfo(path, str(path.relative_to(folder)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = 0
            if entry.isfile():
                with path.open("rb") as content:
                    archive.addfile(entry, content)
            else:
                archive.addfile(entry)
    return buffer.getvalue()


def main(target: Path) -> None:
    """Build, and put the result in its place at once."""
    with tempfile.TemporaryDirectory() as work:
        archive = packed(gather(Path(work)))
    head = (HERE / "head.sh").read_text()
    lines = str(head.count("\n") + 1)
    head = head.replace("@LINES@", lines)
    head = head.replace("@BUILD@", hashlib.sha256(head.encode() + archive).hexdigest()[:16])
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    new.write_bytes(head.encode() + archive)
    new.chmod(0o755)
    new.replace(target)
    print(f"{target}: {target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
