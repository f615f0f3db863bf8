"""What pages of the panel make of text."""

from __future__ import annotations

import pytest

from lq.daemon.panel.pages import sentence


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("it waits", "It waits."),
        ("why?", "Why?"),
        ("https://example.com fails", "https://example.com fails."),
        ("run `lq panel` there", "Run <code>lq panel</code> there."),
        ("`lq panel` opens it", "<code>lq panel</code> opens it."),
        ("one ` alone", "One ` alone."),
        ("`<b>` & `c`", "<code>&lt;b&gt;</code> &amp; <code>c</code>."),
        ("<script>`{0}`", "&lt;script&gt;<code>{0}</code>."),
    ],
)
def test_a_message_becomes_a_sentence(text: str, html: str) -> None:
    assert sentence(text) == html
