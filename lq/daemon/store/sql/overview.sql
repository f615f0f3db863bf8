-- What runs and what comes next, for a glance at the daemon.

-- name: running_first
-- The runs that began first, of some queues if they are given.
SELECT r.*, NULL, u.started_at FROM runs u JOIN job_rows r ON r.seq = u.job_seq AND r.run_id = u.id
WHERE u.ended_at IS NULL
  AND (:queues IS NULL OR r.queue_id IN (SELECT value FROM json_each(:queues)))
ORDER BY u.id LIMIT :limit;

-- name: schedules_next
-- The schedules that fire next, of some queues if they are given.
SELECT * FROM schedule_rows
WHERE next_at IS NOT NULL
  AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
ORDER BY next_at, seq LIMIT :limit;
