"""Tells lq the file that was started, and not the program that this has unpacked."""

import os
import sys

sys.argv[0] = os.environ.pop("LQ_STARTED_AS", sys.argv[0])
