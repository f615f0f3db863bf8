-- What has happened, slot by slot: minutes for two hours, quarters of an hour for eight days.

CREATE TABLE activity (
    slot_ms     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    -- A row of queues, or 0: the sum over all queues, so that the charts of a daemon cost the same
    -- with one queue and with ten thousand.
    queue_id    INTEGER NOT NULL,
    taken       INTEGER NOT NULL,
    completed   INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    retried     INTEGER NOT NULL,
    cancelled   INTEGER NOT NULL,
    started     INTEGER NOT NULL,
    timed       INTEGER NOT NULL,
    late_ms     INTEGER NOT NULL,
    late_max_ms INTEGER NOT NULL,
    PRIMARY KEY (slot_ms, at, queue_id)
) STRICT, WITHOUT ROWID;
