"""The wire: HTTP headers and JSON <-> the nouns. The only package that knows HTTP field names.

Owns: what a push, a PATCH, a filter and an admin request may say (`decode`), what a single
field accepts (`fields`), and how items, queues, attempts, tokens and errors look as JSON
(`encode`). Never opens a socket, never asks for the time, never decides what is allowed.

Invariant: whatever the bytes, decoding ends in a record or in a ValidationError that names
every field it refuses; encoding leaves absent members out and never writes null.
"""

from lq.wire.decode import (
    TokenRequest,
    decode_edit,
    decode_filter,
    decode_force,
    decode_history_filter,
    decode_pause,
    decode_push,
    decode_queue_edit,
    decode_token_request,
    refuse_query,
)
from lq.wire.encode import (
    encode_attempts,
    encode_cancelled,
    encode_error,
    encode_full_item,
    encode_health,
    encode_info,
    encode_item,
    encode_items,
    encode_pushed,
    encode_queue,
    encode_queues,
    encode_secret,
    encode_token,
    encode_tokens,
)
from lq.wire.fields import (
    METHODS,
    REDACTED,
    check_item_headers,
    check_key,
    check_queue,
    read_json,
)

__all__ = [
    "METHODS",
    "REDACTED",
    "TokenRequest",
    "check_item_headers",
    "check_key",
    "check_queue",
    "decode_edit",
    "decode_filter",
    "decode_force",
    "decode_history_filter",
    "decode_pause",
    "decode_push",
    "decode_queue_edit",
    "decode_token_request",
    "encode_attempts",
    "encode_cancelled",
    "encode_error",
    "encode_full_item",
    "encode_health",
    "encode_info",
    "encode_item",
    "encode_items",
    "encode_pushed",
    "encode_queue",
    "encode_queues",
    "encode_secret",
    "encode_token",
    "encode_tokens",
    "read_json",
    "refuse_query",
]
