-- How fast and in which order the jobs of a queue start, and why it is paused.

ALTER TABLE queues ADD COLUMN rate TEXT;
ALTER TABLE queues ADD COLUMN burst INTEGER CHECK (burst >= 1);
ALTER TABLE queues ADD COLUMN fifo INTEGER CHECK (fifo IN (0, 1));
ALTER TABLE queues ADD COLUMN pause_reason TEXT;
-- When the rate has recovered from the last start: kept, so that a restart is no way around it.
ALTER TABLE queues ADD COLUMN paced_until INTEGER;

-- Until when the head of a fifo queue waits: its due_at is its place in the queue, and stays.
ALTER TABLE jobs ADD COLUMN held_until INTEGER;

-- As before, with when a held job goes on.
DROP VIEW job_rows;
CREATE VIEW job_rows AS
SELECT j.seq, j.id, q.name AS queue, j.state, j.created_at, j.not_before, j.due_at,
       j.target, j.method, j.retry, j.timeout_ms, j.key, j.headers, j.content_type, j.labels,
       j.validate, j.failures, j.interruptions,
       iif(j.state = 'RUNNING', j.run_id, NULL) AS run_id, j.last_status, j.error,
       j.expires_at, j.finished_at, j.traceparent, j.tracestate,
       j.schedule_id, j.fire_at, j.missed, j.callback, j.held_until, j.queue_id
FROM jobs j JOIN queues q ON q.id = j.queue_id;
