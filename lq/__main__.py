"""The entry point of `lq` and of `python -m lq`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a Ctrl-C ends it quietly, even while it is still being loaded."""
    try:
        from lq.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
