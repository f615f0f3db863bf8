"""The wire: HTTP headers and JSON <-> the nouns. The only package that knows HTTP field names.

Owns: what a push, a PATCH, a filter and an admin request may say (`decode`, for schedules
`decode_schedule`, for batches `batch`; `reading` is what they share), what a single field accepts
(`fields`), and how items, queues, attempts, tokens and errors look as JSON (`encode`, for
schedules `encode_schedule`, for batches `encode_batch`; `parts` is what they share), what of them
a queue does not show (`redaction`), what is told of what happens (`events`), which many are meant
(`filters`), what is handed to those who listen (`listening`), which requests are the same
(`idempotency`), and all that concerns backups (`backup`) and endpoints (`endpoints`). Never opens
a socket, never asks for the time, never decides what is allowed.

Invariant: whatever the bytes, decoding ends in a record or in a ValidationError that names
every field it refuses; encoding leaves absent members out and never writes null.
"""

from lq.wire.activity import decode_activity, encode_activity
from lq.wire.backup import (
    decode_backup_query,
    decode_part_query,
    decode_release,
    encode_backup,
    encode_backup_part,
    encode_hold,
    encode_released,
)
from lq.wire.batch import BatchReader
from lq.wire.decode import (
    CallbackAnswer,
    TokenRequest,
    decode_atomic,
    decode_complete,
    decode_deep,
    decode_dry,
    decode_edit,
    decode_fail,
    decode_force,
    decode_log_query,
    decode_overlap,
    decode_overview,
    decode_pause,
    decode_push,
    decode_queue_edit,
    decode_token_request,
    refuse_query,
)
from lq.wire.decode_schedule import (
    CronQuery,
    NextQuery,
    decode_cron,
    decode_next,
    decode_schedule,
    decode_schedule_edit,
    decode_schedule_filter,
)
from lq.wire.encode import (
    encode_attempts,
    encode_callback,
    encode_cancelled,
    encode_drain,
    encode_error,
    encode_full_item,
    encode_item,
    encode_items,
    encode_log,
    encode_pushed,
    encode_queue,
    encode_queues,
)
from lq.wire.encode_attention import encode_attention
from lq.wire.encode_batch import encode_batch
from lq.wire.encode_checkup import encode_checkup
from lq.wire.encode_daemon import (
    encode_alerts,
    encode_health,
    encode_info,
    encode_panel_link,
    encode_reload,
    encode_scriptlets,
    encode_secrets,
    encode_token,
    encode_tokens,
)
from lq.wire.encode_finding import (
    encode_cancelled_many,
    encode_failures,
    encode_replayed,
)
from lq.wire.encode_overview import encode_overview
from lq.wire.encode_schedule import (
    encode_cron,
    encode_full_schedule,
    encode_schedule,
    encode_schedules,
    encode_times,
)
from lq.wire.encode_settings import encode_settings
from lq.wire.encode_why import encode_why
from lq.wire.endpoints import (
    EndpointCheck,
    EndpointFilter,
    decode_endpoint_check,
    decode_endpoint_filter,
    encode_endpoint,
    encode_endpoints,
)
from lq.wire.events import (
    LAST_EVENT_ID,
    MISSED,
    decode_event_filter,
    encode_event,
    encode_missed,
)
from lq.wire.fields import (
    METHODS,
    REDACTED,
    check_item_headers,
    check_key,
    check_queue,
    check_schedule_key,
    read_json,
)
from lq.wire.filters import (
    Sweep,
    decode_cancel,
    decode_failure_filter,
    decode_filter,
    decode_history_filter,
    decode_purge,
    decode_replay,
)
from lq.wire.idempotency import IDEMPOTENCY_KEY, digest_request, read_idempotency_key
from lq.wire.listening import (
    Shown,
    decode_answer,
    decode_copy,
    decode_listener,
    decode_next_call,
    decode_sample,
    encode_answered,
    encode_call,
    encode_listener,
    encode_listeners,
    encode_no_call,
    encode_sent,
)
from lq.wire.redaction import Hide, check_redaction, redact_error

__all__ = [
    "IDEMPOTENCY_KEY",
    "LAST_EVENT_ID",
    "METHODS",
    "MISSED",
    "REDACTED",
    "BatchReader",
    "CallbackAnswer",
    "CronQuery",
    "EndpointCheck",
    "EndpointFilter",
    "Hide",
    "NextQuery",
    "Shown",
    "Sweep",
    "TokenRequest",
    "check_item_headers",
    "check_key",
    "check_queue",
    "check_redaction",
    "check_schedule_key",
    "decode_activity",
    "decode_answer",
    "decode_atomic",
    "decode_backup_query",
    "decode_cancel",
    "decode_complete",
    "decode_copy",
    "decode_cron",
    "decode_deep",
    "decode_dry",
    "decode_edit",
    "decode_endpoint_check",
    "decode_endpoint_filter",
    "decode_event_filter",
    "decode_fail",
    "decode_failure_filter",
    "decode_filter",
    "decode_force",
    "decode_history_filter",
    "decode_listener",
    "decode_log_query",
    "decode_next",
    "decode_next_call",
    "decode_overlap",
    "decode_overview",
    "decode_part_query",
    "decode_pause",
    "decode_purge",
    "decode_push",
    "decode_queue_edit",
    "decode_release",
    "decode_replay",
    "decode_sample",
    "decode_schedule",
    "decode_schedule_edit",
    "decode_schedule_filter",
    "decode_token_request",
    "digest_request",
    "encode_activity",
    "encode_alerts",
    "encode_answered",
    "encode_attempts",
    "encode_attention",
    "encode_backup",
    "encode_backup_part",
    "encode_batch",
    "encode_call",
    "encode_callback",
    "encode_cancelled",
    "encode_cancelled_many",
    "encode_checkup",
    "encode_cron",
    "encode_drain",
    "encode_endpoint",
    "encode_endpoints",
    "encode_error",
    "encode_event",
    "encode_failures",
    "encode_full_item",
    "encode_full_schedule",
    "encode_health",
    "encode_hold",
    "encode_info",
    "encode_item",
    "encode_items",
    "encode_listener",
    "encode_listeners",
    "encode_log",
    "encode_missed",
    "encode_no_call",
    "encode_overview",
    "encode_panel_link",
    "encode_pushed",
    "encode_queue",
    "encode_queues",
    "encode_released",
    "encode_reload",
    "encode_replayed",
    "encode_schedule",
    "encode_schedules",
    "encode_scriptlets",
    "encode_secrets",
    "encode_sent",
    "encode_settings",
    "encode_times",
    "encode_token",
    "encode_tokens",
    "encode_why",
    "read_idempotency_key",
    "read_json",
    "redact_error",
    "refuse_query",
]
