"""`lq export`: queues, schedules and names of tokens as a document for `lq apply FILE`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lq.client import Client
from lq.commands import common
from lq.commands.common import note, out

if TYPE_CHECKING:
    from lq.exported import Document

app = common.app()

Hidden = dict[tuple[str, str], list[str]]
"""What is not shown of an entry, by kind and name."""


@app.command()
@common.remote
def export(client: Client) -> None:
    """Print queues, schedules and tokens' names as TOML.

    `lq apply FILE` brings a daemon to what it says. What lq.toml sets is left to that; what the
    API hides (credentials in headers, redacted payloads) and tokens themselves are not in it.
    """
    from lq.exported import to_toml
    from lq.render import clean

    document, hidden = read(client)
    for (kind, name), left_out in hidden.items():
        note(f"{kind} {clean(name)}: left out is what is not shown: {clean(', '.join(left_out))}.")
    text = to_toml(document)
    out(text.rstrip("\n") if text else "# There are no queues, schedules and tokens.")


def read(client: Client) -> tuple[Document, Hidden]:
    """What the daemon has, and what of it the document cannot say.

    Shape: a schedule without a key cannot be told from others, and is left out whole.
    """
    from lq.exported import Document, hidden, queue_entry, schedule_entry, token_entry

    unseen: Hidden = {}
    queues, schedules = {}, {}
    for queue in client.queues():
        queues[queue["name"]] = queue_entry(queue)
        unseen["queue", queue["name"]] = hidden(queue)
    for listed in client.pages(client.schedules, limit=common.MAX_PAGE):
        if listed["origin"] == "file":
            continue
        if "key" not in listed:
            unseen["schedule", listed["id"]] = ["all of it, for it has no key"]
            continue
        shown = client.schedule(listed["id"])
        schedules[shown["key"]] = schedule_entry(shown)
        unseen["schedule", shown["key"]] = hidden(shown)
    tokens = [token_entry(token) for token in client.tokens() if "revoked" not in token]
    return Document(queues, schedules, tokens), {
        what: names for what, names in unseen.items() if names
    }
