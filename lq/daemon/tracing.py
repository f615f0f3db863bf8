"""Sends a span of each attempt to a collector that speaks OTLP. An extra: `lq-daemon[otlp]`.

Owns what a span says. The exporter of OpenTelemetry batches and sends, on a thread of its own: a
collector that is away or slow holds up nothing, and what does not fit in its queue is dropped.

Invariant: a span is the parent that the handler was told, so that its own spans hang below.

Source: https://opentelemetry.io/docs/specs/semconv/messaging/
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lq import __version__
from lq.config import Otlp
from lq.errors import ConfigError
from lq.model import Outcome, OutcomeKind, Run

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

Sent = Callable[[Run, str, Outcome, int, int], None]
"""Is told of an attempt: its run, the traceparent it was sent with, its outcome, start and end."""

_PATH = "/v1/traces"
# For one batch, its repetitions included: a stop waits for the last one.
_PATIENCE_S = 2.0


class Tracer:
    """Makes spans of attempts. `close` sends what is left, for a few seconds at most."""

    def __init__(self, processor: BatchSpanProcessor, service: str) -> None:
        from opentelemetry.sdk.resources import Resource

        self._processor = processor
        named = {"service.name": service, "service.version": __version__}
        self._resource = Resource.create(named)

    def attempted(
        self, run: Run, traceparent: str, outcome: Outcome, started_at: int, ended_at: int
    ) -> None:
        """An attempt has ended. Units: the instants are Unix milliseconds."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.status import Status, StatusCode

        job = run.job
        failed = outcome.kind is not OutcomeKind.SUCCEEDED
        self._processor.on_end(
            ReadableSpan(
                name=f"process {job.queue}",
                context=_context(traceparent),
                parent=None if job.traceparent is None else _context(job.traceparent),
                resource=self._resource,
                attributes=_attributes(run, outcome),
                kind=SpanKind.CLIENT,
                status=Status(StatusCode.ERROR if failed else StatusCode.OK),
                start_time=started_at * 1_000_000,
                end_time=ended_at * 1_000_000,
            )
        )

    def close(self) -> None:
        """Send what is left."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # (its own omission)


def open_tracer(config: Otlp) -> Tracer | None:
    """What sends spans, if they are to be sent. Raises: ConfigError."""
    if config.endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            "[otlp] endpoint: this lq was installed without what sends spans",
            hint="install it with the extra: pip install 'lq-daemon[otlp]'",
        ) from error
    # It says each time that a collector is away, and with a traceback.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = OTLPSpanExporter(
        endpoint=config.endpoint + _PATH, headers=_headers(config), timeout=_PATIENCE_S
    )
    return Tracer(BatchSpanProcessor(exporter), config.service)


def _headers(config: Otlp) -> dict[str, str]:
    """The headers of a file, a `Name: value` a line. Raises: ConfigError."""
    if config.headers_file is None:
        return {}
    try:
        lines = config.headers_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"[otlp] headers_file {config.headers_file} cannot be read") from error
    found = [line.partition(":") for line in lines if line.strip()]
    if not all(colon and name.strip() for name, colon, _ in found):
        raise ConfigError(
            f"[otlp] headers_file {config.headers_file}: expected a line `Name: value` for each"
        )
    return {name.strip(): value.strip() for name, _, value in found}


def _context(traceparent: str) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace, span, flags = traceparent.split("-")[:4]
    return SpanContext(int(trace, 16), int(span, 16), is_remote=False,
                       trace_flags=TraceFlags(int(flags, 16)))  # fmt: skip


def _attributes(run: Run, outcome: Outcome) -> dict[str, str | int]:
    """What a span says; nothing of what was sent or answered."""
    job = run.job
    said: dict[str, str | int] = {
        "messaging.system": "lq",
        "messaging.operation.type": "process",
        "messaging.destination.name": job.queue,
        "messaging.message.id": job.id,
        "lq.attempt": job.attempt,
        "lq.outcome": outcome.kind.value,
        "http.request.method": job.method,
        "url.full": job.target.partition("?")[0],  # a query may hold a credential
    }
    if outcome.status is not None:
        said["http.response.status_code"] = outcome.status
    if job.firing is not None:
        said["lq.schedule"] = job.firing.schedule
    return said
