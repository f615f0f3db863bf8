"""The description of the API, held against what the daemon answers in all of its tests."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import jsonschema_rs

from lq.daemon.api.app import OPEN_PATHS, ROUTES
from lq.daemon.api.openapi import document, template
from lq.daemon.api.router import Router, parted
from lq.errors import RequestError

DOCUMENT: dict[str, Any] = json.loads(json.dumps(document(ROUTES, OPEN_PATHS)))
STREAM = "text/event-stream"
"""What has no end, and so is looked at by test_events alone; plain text has no schema either."""
_ROUTER = Router(ROUTES)
_AUTHORITY = re.compile("^[a-z]+://[^/?]*")
_SHARED = DOCUMENT["components"]["responses"]


def check(method: str, target: str, status: int, content_type: str, body: bytes) -> None:
    """Hold one answer against what the description says of its operation.

    Shape: `target` is what stood in the request line; `body` is empty in an answer to HEAD.
    """
    path, _, _ = parted(f"/{_AUTHORITY.sub('', target).lstrip('/')}")
    answers = _answers(method, path)
    assert str(status) in answers, f"{method} {target} is not said to answer {status}"
    content = _resolved(answers[str(status)])["content"]
    assert content_type in content, f"{method} {target} is not said to answer {content_type}"
    if method != "HEAD" and not content_type.startswith("text/"):
        validator = _validator(content[content_type]["schema"]["$ref"])
        validator.validate(json.loads(body))


def _answers(method: str, path: str) -> Any:
    """What an operation may answer; where none is meant, any refusal."""
    try:
        route = _ROUTER.match(method, path).route
    except RequestError:
        return _SHARED
    return DOCUMENT["paths"][template(route.pattern)[0]][route.method.lower()]["responses"]


def _resolved(answer: dict[str, Any]) -> dict[str, Any]:
    shared: dict[str, Any] = (
        _SHARED[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
    )
    return shared


@cache
def _validator(reference: str) -> jsonschema_rs.Draft202012Validator:
    """A validator of one schema, to which no member is known that it does not name."""
    components = json.loads(json.dumps(DOCUMENT["components"]), object_hook=_closed)
    schema = {"$ref": reference, "components": components}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema
