"""`python -m lq` is `lq`."""

from lq.cli import main

main()
