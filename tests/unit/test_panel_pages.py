"""The templates' own tools, and when they are loaded."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import lq.daemon.main
from lq.daemon.panel.assets import Assets
from lq.daemon.panel.pages import Pages
pages = Pages(Assets(), "1")
print("jinja2" in sys.modules)
pages.render("arrived.html", target="/")
print("jinja2" in sys.modules)
"""


def test_a_daemon_whose_panel_nobody_opens_does_without_templates() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["False", "True"]
