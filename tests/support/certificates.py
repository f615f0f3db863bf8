"""Certificates made for a test, as the files that a daemon is told of."""

from __future__ import annotations

from pathlib import Path

import trustme


class Authority:
    """A certificate authority of the test's own; `file` is its certificate."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ca.pem"
        self._folder = folder
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *identities: str) -> tuple[Path, Path]:
        """Write a certificate with its chain, and its key (0600), for these names."""
        issued = self._ca.issue_cert(*(identities or ("localhost", "127.0.0.1")))
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(issued.private_key_pem.bytes())
        return cert, key
