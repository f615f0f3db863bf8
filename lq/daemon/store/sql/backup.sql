-- Statements on a copy, or beside the writer: these may look through everything.

-- name: row_counts
-- How many rows the tables have that people ask about.
SELECT 'queues', count(*) FROM queues
UNION ALL SELECT 'jobs', count(*) FROM jobs
UNION ALL SELECT 'payloads', count(*) FROM payloads
UNION ALL SELECT 'runs', count(*) FROM runs
UNION ALL SELECT 'schedules', count(*) FROM schedules
UNION ALL SELECT 'tokens', count(*) FROM tokens;

-- name: mark_backup
-- Say of a copy which moment it shows.
INSERT OR REPLACE INTO backup (id, made_at, version) VALUES (1, :at, :version);

-- name: backup_mark
-- Which moment a copy shows, if it is one.
SELECT made_at FROM backup;

-- name: unmark_backup
-- What serves is no backup.
DELETE FROM backup;

-- name: put_hold
-- Let nothing start, from now on.
INSERT OR REPLACE INTO hold (id, since, backup_at) VALUES (1, :since, :backup_at);

-- name: latest_instant
-- The last thing that a database knows of, where it does not say which moment it shows.
SELECT max(at) FROM (
    SELECT max(created_at) AS at FROM jobs
    UNION ALL SELECT max(finished_at) FROM jobs
    UNION ALL SELECT max(started_at) FROM runs
    UNION ALL SELECT max(ended_at) FROM runs
    UNION ALL SELECT max(mark_at) FROM clock);

-- name: running_jobs
-- The jobs that were running, which will run again.
SELECT j.id, q.name, j.key, j.state FROM jobs j JOIN queues q ON q.id = j.queue_id
WHERE j.state = 'RUNNING' ORDER BY j.seq;

-- name: waiting_jobs
-- How many jobs wait, are due by now, and have expired by now.
SELECT count(*), coalesce(sum(due_at <= :now), 0), coalesce(sum(expires_at <= :now), 0)
FROM jobs WHERE state = 'PENDING';

-- name: has_callback_key
-- Whether the present database is new enough to be recognised.
SELECT count(*) FROM present.sqlite_schema WHERE name = 'callback_key';

-- name: is_same_lineage
-- Whether both databases were one, once: the key is made with a database and never changes.
SELECT count(*) FROM main.callback_key m JOIN present.callback_key p ON p.key = m.key;

-- name: finished_since
-- The unfinished jobs of the backup that have ended since; what is not there any more has been
-- forgotten after its end.
SELECT j.id, q.name, j.key, p.state
FROM main.jobs j JOIN main.queues q ON q.id = j.queue_id LEFT JOIN present.jobs p ON p.id = j.id
WHERE j.state IN ('PENDING', 'RUNNING')
  AND (p.id IS NULL OR p.state IN ('COMPLETED', 'FAILED', 'CANCELLED'))
ORDER BY j.seq;

-- name: pushed_since
-- The jobs that the backup does not know.
SELECT p.id, q.name, p.key, p.state
FROM present.jobs p JOIN present.queues q ON q.id = p.queue_id
WHERE NOT EXISTS (SELECT 1 FROM main.jobs j WHERE j.id = p.id)
ORDER BY p.seq;
