-- Schedules, which job each of them made for which time, and the mark of the clock.

CREATE TABLE schedules (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    key        TEXT    CHECK (key <> ''),
    -- A name: the queue comes into being with the first job.
    queue      TEXT    NOT NULL,
    rule       TEXT    NOT NULL,
    zone       TEXT    NOT NULL,
    times      INTEGER CHECK (times >= 1),
    start_at   INTEGER,
    until_at   INTEGER,
    jitter_ms  INTEGER NOT NULL CHECK (jitter_ms >= 0),
    misfire    TEXT    NOT NULL CHECK (misfire IN ('once', 'skip', 'all')),
    overlap    TEXT    NOT NULL CHECK (overlap IN ('allow', 'skip')),
    origin     TEXT    NOT NULL CHECK (origin IN ('api', 'file')),
    -- What else its jobs are made from; their payload is in schedule_payloads.
    options    TEXT    NOT NULL CHECK (json_valid(options)),
    created_at INTEGER NOT NULL,
    anchor_at  INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    next_at    INTEGER,
    fired      INTEGER NOT NULL CHECK (fired >= 0),
    last_at    INTEGER,
    -- The id of the last job; no reference, because history forgets jobs.
    last_job   TEXT,
    paused     INTEGER NOT NULL CHECK (paused IN (0, 1)),
    reason     TEXT,
    -- What is paused or has had its times is never due.
    CHECK (next_at IS NULL OR paused = 0),
    CHECK (next_at IS NULL OR times IS NULL OR fired < times)
) STRICT;

CREATE UNIQUE INDEX schedules_key ON schedules (key) WHERE key IS NOT NULL;
CREATE INDEX schedules_without_key ON schedules (created_at, seq) WHERE key IS NULL;
CREATE INDEX schedules_queue ON schedules (queue);
CREATE INDEX schedules_due ON schedules (next_at, seq) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_seen ON schedules (seen_at, seq) WHERE paused = 0;

-- Apart from schedules, so that moving on to the next time never rewrites a megabyte of payload.
CREATE TABLE schedule_payloads (
    schedule_seq INTEGER PRIMARY KEY REFERENCES schedules (seq) ON DELETE CASCADE,
    body         BLOB NOT NULL
) STRICT;

-- One row at most: the latest instant at which the daemon is known to have lived.
CREATE TABLE clock (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    mark_at INTEGER NOT NULL
) STRICT;

-- No reference: the jobs of a schedule outlive it.
ALTER TABLE jobs ADD COLUMN schedule_id TEXT;
-- The nominal time; NULL for a job that somebody asked for by hand.
ALTER TABLE jobs ADD COLUMN fire_at INTEGER CHECK (fire_at IS NULL OR schedule_id IS NOT NULL);
ALTER TABLE jobs ADD COLUMN missed INTEGER
    CHECK ((missed IS NULL) = (schedule_id IS NULL) AND (missed IS NULL OR missed >= 0));

-- Never two jobs of a schedule for one time, whatever the clock does.
CREATE UNIQUE INDEX jobs_fired ON jobs (schedule_id, fire_at) WHERE fire_at IS NOT NULL;
-- A cancelled job whose call goes on is unfinished, too.
CREATE INDEX jobs_unfinished_of_schedule ON jobs (schedule_id, queue_id, due_at, seq)
    WHERE schedule_id IS NOT NULL AND (state = 'PENDING' OR run_id IS NOT NULL);
CREATE INDEX jobs_finished_of_schedule ON jobs (schedule_id, finished_at, seq)
    WHERE schedule_id IS NOT NULL AND finished_at IS NOT NULL;

-- As before, with what a schedule has to do with a job.
DROP VIEW job_rows;
CREATE VIEW job_rows AS
SELECT j.seq, j.id, q.name AS queue, j.state, j.created_at, j.not_before, j.due_at,
       j.target, j.method, j.retry, j.timeout_ms, j.key, j.headers, j.content_type, j.labels,
       j.validate, j.failures, j.interruptions,
       iif(j.state = 'RUNNING', j.run_id, NULL) AS run_id, j.last_status, j.error,
       j.expires_at, j.finished_at, j.traceparent, j.tracestate,
       j.schedule_id, j.fire_at, j.missed, j.queue_id
FROM jobs j JOIN queues q ON q.id = j.queue_id;

-- One row as lq/daemon/store/rows.py reads it, followed by the payload or nothing. The last job
-- may be gone; its id stays.
CREATE VIEW schedule_rows AS
SELECT s.id, s.rule, s.zone, s.key, s.times, s.start_at, s.until_at, s.jitter_ms, s.misfire,
       s.overlap, s.queue, s.options, s.created_at, s.anchor_at, s.seen_at, s.next_at, s.fired,
       s.last_at, s.last_job, j.state AS last_state, j.failures AS last_failures,
       j.finished_at AS last_finished_at, j.error AS last_error, s.paused, s.reason, s.origin,
       s.seq
FROM schedules s LEFT JOIN jobs j ON j.id = s.last_job;
