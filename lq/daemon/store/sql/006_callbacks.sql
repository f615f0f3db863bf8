-- Completion by callback: which jobs ask for it, which runs wait for one, and the key of tokens.

ALTER TABLE jobs ADD COLUMN callback INTEGER NOT NULL DEFAULT 0 CHECK (callback IN (0, 1));
-- By when the handler has to call back; set once it has accepted the job.
ALTER TABLE runs ADD COLUMN deadline_at INTEGER;

-- One row. In the database, because a token is worth something only where its run is known.
CREATE TABLE callback_key (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    key BLOB    NOT NULL CHECK (length(key) = 32)
) STRICT;
INSERT INTO callback_key (id, key) VALUES (1, entropy(32));

-- As before, with how a job is completed.
DROP VIEW job_rows;
CREATE VIEW job_rows AS
SELECT j.seq, j.id, q.name AS queue, j.state, j.created_at, j.not_before, j.due_at,
       j.target, j.method, j.retry, j.timeout_ms, j.key, j.headers, j.content_type, j.labels,
       j.validate, j.failures, j.interruptions,
       iif(j.state = 'RUNNING', j.run_id, NULL) AS run_id, j.last_status, j.error,
       j.expires_at, j.finished_at, j.traceparent, j.tracestate,
       j.schedule_id, j.fire_at, j.missed, j.callback, j.queue_id
FROM jobs j JOIN queues q ON q.id = j.queue_id;
