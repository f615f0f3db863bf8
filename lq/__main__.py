"""The entry point of `lq` and of `python -m lq`."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line; a Ctrl-C ends it quietly, even while it is still being loaded."""
    # A command is over before a collection has found anything: without those that loading sets
    # off, and the last one at exit, `lq push` takes a fifth less. What goes on turns them on.
    gc.disable()
    try:
        from lq.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
