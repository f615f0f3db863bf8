-- Jobs that were put off because their endpoint was not to be called.

-- name: held_jobs
-- Of the first waiting jobs of a queue whose time is to come those that a target has held.
SELECT looked.seq, looked.error
FROM (SELECT e.seq, e.target, e.error FROM jobs e INDEXED BY jobs_due
      WHERE e.state = 'PENDING' AND e.queue_id = :queue AND e.due_at > :now
      ORDER BY e.due_at, e.seq LIMIT :most) looked
WHERE looked.target = :target AND EXISTS (
    SELECT 1 FROM json_each(:reasons) reason
    WHERE substr(looked.error, 1, length(reason.value)) = reason.value);

-- name: held_head
-- The same of the job at the head of a queue that keeps its place there.
SELECT head.seq, head.error
FROM (SELECT e.seq, e.target, e.error, e.held_until FROM jobs e INDEXED BY jobs_due
      WHERE e.state = 'PENDING' AND e.queue_id = :queue ORDER BY e.due_at, e.seq LIMIT 1) head
WHERE head.held_until > :now AND head.target = :target AND EXISTS (
    SELECT 1 FROM json_each(:reasons) reason
    WHERE substr(head.error, 1, length(reason.value)) = reason.value);

-- name: free_jobs
-- Make jobs due that are held still for what they were found to be held for.
WITH v (seq, error, now) AS (VALUES :rows(3))
UPDATE jobs SET due_at = iif(jobs.held_until IS NULL, max(jobs.not_before, v.now), jobs.due_at),
    held_until = NULL, error = NULL
FROM v WHERE jobs.seq = v.seq AND jobs.state = 'PENDING' AND jobs.error = v.error
    AND max(jobs.due_at, coalesce(jobs.held_until, 0)) > v.now;
