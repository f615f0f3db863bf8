"""What the daemons under test say, held against what must never be said.

Owns: how secrets, tokens, signatures and credentials look, and the word that tests put into
payloads, answers and header values. What passes here: all that lq logs in this process, at any
level; what libraries log from `info` on, of which `lq serve` lets out no more than warnings; and
all that a daemon writes to stderr in a process of its own. `conftest` fails the session, not a
test that could be left out, when there was something.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Final, NamedTuple

NEVER_SAID: Final = re.compile(
    r"""\w-canary           # tests put it into payloads, answers and header values
    | lqs_[0-9a-f]{8}       # signing secrets
    | whsec_[\w+/]{8}       # in the form of Standard Webhooks
    | lq_[0-9A-Za-z]{49}    # tokens
    | lq-sealed-1:\w        # secrets as they are encrypted on disk
    | s=[0-9a-f]{64}        # signatures of LambdaQueue v1
    | v1,[\w+/]{43}=        # signatures of Standard Webhooks
    | \b(?i:bearer|basic):?\ +(?!TOKEN\b)\w""",
    re.VERBOSE,
)


class Leak(NamedTuple):
    """Something that was said, and during which test."""

    text: str
    test: str


class Ear(logging.Handler):
    """Listens to every log record, and to what else it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.heard = 0
        self.leaks: list[Leak] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.hear(self.format(record))

    def hear(self, text: str) -> None:
        """Hold a text against what must never be said."""
        self.heard += 1
        if NEVER_SAID.search(text):
            self.leaks.append(Leak(text, os.environ.get("PYTEST_CURRENT_TEST", "no test")))

    def listen(self) -> None:
        """Hear from now on what this process logs, the details included."""
        logging.getLogger().addHandler(self)
        logging.getLogger().setLevel(logging.INFO)
        logging.getLogger("lq").setLevel(logging.DEBUG)


EAR: Final = Ear()
"""The one that listens while the tests run."""
