-- What needs a person, as far as the database knows it.

-- name: troubled_schedules
-- Of the first schedules those that lq has paused, or whose last finished job has failed; what was
-- cancelled or skipped is no verdict.
SELECT looked.id, looked.key, looked.queue, iif(looked.paused, looked.reason, NULL)
FROM (SELECT id, key, queue, paused, reason FROM schedules
      WHERE seq > 0 ORDER BY seq LIMIT :most) looked
WHERE (:queues IS NULL OR looked.queue IN (SELECT value FROM json_each(:queues)))
  AND iif(looked.paused, looked.reason IS NOT NULL, 'FAILED' = (
      SELECT last.state FROM (
          SELECT e.state FROM jobs e INDEXED BY jobs_finished_of_schedule
          WHERE e.schedule_id = looked.id AND e.finished_at IS NOT NULL
          ORDER BY e.finished_at DESC, e.seq DESC LIMIT :back) last
      WHERE last.state <> 'CANCELLED' LIMIT 1))
LIMIT :limit;

-- name: last_of_schedule
-- How the last jobs of a schedule have ended, the newest first.
SELECT e.state, e.finished_at, e.error, e.fingerprint, q.name
FROM jobs e INDEXED BY jobs_finished_of_schedule JOIN queues q ON q.id = e.queue_id
WHERE e.schedule_id = :schedule AND e.finished_at IS NOT NULL
ORDER BY e.finished_at DESC, e.seq DESC LIMIT :limit;
