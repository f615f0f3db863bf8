-- name: sweepable
-- Some jobs as they are now, with what keeps each from waiting again.
SELECT j.seq, j.id, j.queue_id, q.name, j.state, j.failures, j.key,
       j.key IS NOT NULL AND EXISTS (
           SELECT 1 FROM jobs w
           WHERE w.queue_id = j.queue_id AND w.key = j.key AND w.state = 'PENDING'),
       EXISTS (SELECT 1 FROM runs u WHERE u.job_seq = j.seq AND u.ended_at IS NULL),
       j.labels, j.schedule_id
FROM json_each(:seqs) e CROSS JOIN jobs j ON j.seq = e.value JOIN queues q ON q.id = j.queue_id;

-- name: revive_jobs
-- Make finished jobs wait again, as if just pushed, each for its own time.
WITH v (seq, due_at) AS (VALUES :rows(2))
UPDATE jobs SET state = 'PENDING', not_before = v.due_at, due_at = v.due_at, expires_at = NULL,
    expires_ms = NULL, finished_at = NULL, failures = 0, interruptions = 0,
    last_status = NULL, error = NULL, held_until = NULL, fingerprint = NULL
FROM v WHERE jobs.seq = v.seq AND jobs.state IN ('COMPLETED', 'FAILED', 'CANCELLED');

-- name: cancel_jobs
-- Cancel unprocessed jobs; a run that still goes on counts, as of one that is cancelled alone.
WITH v (seq, now) AS (VALUES :rows(2))
UPDATE jobs SET state = 'CANCELLED', failures = failures + (run_id IS NOT NULL),
    finished_at = v.now, error = 'cancelled'
FROM v WHERE jobs.seq = v.seq AND jobs.state IN ('PENDING', 'RUNNING');
