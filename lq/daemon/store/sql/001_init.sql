-- The first schema. Instants are Unix milliseconds UTC; durations milliseconds.
-- The CHECKs hold the state machine of lq/model.py: what MOVES forbids cannot be stored.

CREATE TABLE queues (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    deleted_at   INTEGER,
    paused       INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    paused_until INTEGER CHECK (paused_until IS NULL OR paused = 1),
    target       TEXT,
    method       TEXT,
    headers      TEXT    CHECK (headers IS NULL OR json_valid(headers)),
    concurrency  INTEGER CHECK (concurrency >= 1),
    retry        TEXT,
    timeout_ms   INTEGER CHECK (timeout_ms >= 1),
    -- Kept with every move, because count(*) costs up to a second at a million rows.
    pending      INTEGER NOT NULL DEFAULT 0,
    retrying     INTEGER NOT NULL DEFAULT 0,
    running      INTEGER NOT NULL DEFAULT 0,
    completed    INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0,
    cancelled    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE jobs (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    queue_id      INTEGER NOT NULL REFERENCES queues (id),
    key           TEXT,
    state         TEXT    NOT NULL
                  CHECK (state IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    created_at    INTEGER NOT NULL,
    not_before    INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,
    expires_at    INTEGER,
    -- How long after the push, if that is how the expiry was given.
    expires_ms    INTEGER,
    finished_at   INTEGER,
    target        TEXT    NOT NULL,
    method        TEXT    NOT NULL,
    headers       TEXT,
    content_type  TEXT,
    retry         TEXT    NOT NULL,
    timeout_ms    INTEGER NOT NULL CHECK (timeout_ms >= 1),
    labels        TEXT    NOT NULL DEFAULT '',
    validate      INTEGER NOT NULL DEFAULT 1 CHECK (validate IN (0, 1)),
    traceparent   TEXT,
    tracestate    TEXT,
    failures      INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    interruptions INTEGER NOT NULL DEFAULT 0 CHECK (interruptions >= 0),
    -- The run that calls it; a cancelled job keeps it until that call has ended.
    run_id        INTEGER,
    last_status   INTEGER,
    error         TEXT,
    CHECK (run_id IS NOT NULL OR state <> 'RUNNING'),
    CHECK (run_id IS NULL OR state IN ('RUNNING', 'CANCELLED')),
    CHECK ((state IN ('COMPLETED', 'FAILED', 'CANCELLED')) = (finished_at IS NOT NULL))
) STRICT;

-- A claim reads the head of this; it stays microseconds however many wait further back.
CREATE INDEX jobs_due ON jobs (queue_id, due_at, seq) WHERE state = 'PENDING';
-- Never two waiting jobs with one key, and never two that are called.
CREATE UNIQUE INDEX jobs_key_waiting ON jobs (queue_id, key)
    WHERE state = 'PENDING' AND key IS NOT NULL;
CREATE UNIQUE INDEX jobs_key_called ON jobs (queue_id, key)
    WHERE run_id IS NOT NULL AND key IS NOT NULL;
CREATE INDEX jobs_expiry ON jobs (expires_at)
    WHERE state = 'PENDING' AND expires_at IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (finished_at, seq) WHERE finished_at IS NOT NULL;

-- Apart from jobs, so that a change of state never rewrites a megabyte of payload.
CREATE TABLE payloads (
    job_seq INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    body    BLOB NOT NULL
) STRICT;

-- AUTOINCREMENT, because the id is the fence of every settle and plain rowids are reused.
CREATE TABLE runs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    job_seq    INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    attempt    INTEGER NOT NULL CHECK (attempt >= 1),
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    outcome    TEXT    CHECK (outcome IN ('succeeded', 'failed', 'rejected', 'interrupted')),
    status     INTEGER,
    error      TEXT,
    headers    TEXT,
    body       BLOB,
    truncated  INTEGER NOT NULL DEFAULT 0 CHECK (truncated IN (0, 1)),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT;

CREATE INDEX runs_job ON runs (job_seq, id);
-- What runs now: few rows, whatever history holds.
CREATE INDEX runs_open ON runs (id) WHERE ended_at IS NULL;

CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    digest     BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    scopes     TEXT    NOT NULL,
    queues     TEXT    NOT NULL CHECK (json_valid(queues)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    used_at    INTEGER
) STRICT;

CREATE UNIQUE INDEX tokens_live ON tokens (name) WHERE revoked_at IS NULL;

-- One row as lq/daemon/store/rows.py reads it: the order of columns is the contract. The run of
-- a cancelled job is the store's own affair: the job no longer belongs to it.
CREATE VIEW job_rows AS
SELECT j.seq, j.id, q.name AS queue, j.state, j.created_at, j.not_before, j.due_at,
       j.target, j.method, j.retry, j.timeout_ms, j.key, j.headers, j.content_type, j.labels,
       j.validate, j.failures, j.interruptions,
       iif(j.state = 'RUNNING', j.run_id, NULL) AS run_id, j.last_status, j.error,
       j.expires_at, j.finished_at, j.traceparent, j.tracestate, j.queue_id
FROM jobs j JOIN queues q ON q.id = j.queue_id;
