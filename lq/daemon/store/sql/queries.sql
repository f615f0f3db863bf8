-- The statements on jobs, queues and tokens, by name; those on schedules are in schedules.sql.
-- `now` and all values are parameters.
-- `VALUES :rows(n)` stands for as many rows of n parameters as a call brings, and rows of NULLs
-- up to a power of two: one statement for many rows is one crossing between SQLite's thread and
-- the interpreter's lock.

-- name: insert_jobs
-- Store new jobs.
INSERT INTO jobs (seq, id, queue_id, key, state, created_at, not_before, due_at, expires_at,
                  expires_ms, target, method, headers, content_type, retry, timeout_ms, labels,
                  validate, traceparent, tracestate, run_id, callback)
SELECT * FROM (VALUES :rows(22)) WHERE column1 IS NOT NULL;

-- name: insert_fired_jobs
-- Store new jobs of schedules, those skipped among them; one statement for all jobs would make
-- each push a sixth dearer.
INSERT INTO jobs (seq, id, queue_id, key, state, created_at, not_before, due_at, expires_at,
                  expires_ms, target, method, headers, content_type, retry, timeout_ms, labels,
                  validate, traceparent, tracestate, run_id, callback, schedule_id, fire_at, missed,
                  finished_at, error)
SELECT * FROM (VALUES :rows(27)) WHERE column1 IS NOT NULL;

-- name: insert_payloads
-- Store the bodies of new jobs.
INSERT INTO payloads (job_seq, body)
SELECT * FROM (VALUES :rows(2)) WHERE column1 IS NOT NULL;

-- name: insert_runs
-- Open runs.
INSERT INTO runs (id, job_seq, attempt, started_at)
SELECT * FROM (VALUES :rows(4)) WHERE column1 IS NOT NULL;

-- name: waiting_by_key
-- The job a push with this key would replace, and how its expiry was given.
SELECT r.*, p.body, (SELECT expires_ms FROM jobs WHERE seq = r.seq)
FROM job_rows r JOIN payloads p ON p.job_seq = r.seq
WHERE r.queue_id = :queue AND r.key = :key AND r.state = 'PENDING';

-- name: waiting_keys
-- Which of many keys wait in a queue.
SELECT k.value FROM json_each(:keys) k
WHERE EXISTS (SELECT 1 FROM jobs j
              WHERE j.queue_id = :queue AND j.key = k.value AND j.state = 'PENDING');

-- name: key_called
-- Whether a job with this key is called, be that still wanted or not.
SELECT 1 FROM jobs WHERE queue_id = :queue AND key = :key AND run_id IS NOT NULL;

-- name: replace_job
-- Put new content in a waiting job's place: same id, fresh budget.
UPDATE jobs SET not_before = :not_before, due_at = :due_at, expires_at = :expires_at,
    expires_ms = :expires_ms, target = :target, method = :method, headers = :headers,
    content_type = :content_type, retry = :retry, timeout_ms = :timeout_ms, labels = :labels,
    validate = :validate, callback = :callback,
    traceparent = :traceparent, tracestate = :tracestate,
    failures = 0, interruptions = 0, last_status = NULL, error = NULL, held_until = NULL
WHERE seq = :seq AND state = 'PENDING';

-- name: replace_payload
-- Change a waiting job's body.
UPDATE payloads SET body = :body WHERE job_seq = :seq;

-- name: due_jobs
-- The first due jobs of a queue, but for those whose key is called; those that have expired
-- are among them, so that no claim looks through all of them. One row of JSON, small payloads in hex, large ones left out: each row would be a crossing
-- between SQLite's thread and a busy interpreter, which costs more than the row.
SELECT json_group_array(json_array(
    seq, id, queue, state, created_at, not_before, due_at, target, method, retry, timeout_ms,
    key, headers, content_type, labels, validate, failures, interruptions, run_id, last_status,
    error, expires_at, finished_at, traceparent, tracestate, schedule_id, fire_at, missed,
    callback, held_until, queue_id,
    CASE WHEN length(body) <= :inline THEN hex(body) END))
FROM (
    SELECT r.*, p.body FROM job_rows r JOIN payloads p ON p.job_seq = r.seq
    WHERE r.queue_id = :queue AND r.state = 'PENDING' AND r.due_at <= :now
      AND (r.key IS NULL OR NOT EXISTS (
            SELECT 1 FROM jobs x
            WHERE x.queue_id = r.queue_id AND x.key = r.key AND x.run_id IS NOT NULL))
    ORDER BY r.due_at, r.seq LIMIT :limit);

-- name: ahead
-- How many due jobs of a queue would start before this one, counted up to a limit.
SELECT count(*) FROM (
    SELECT 1 FROM jobs
    WHERE queue_id = :queue AND state = 'PENDING' AND due_at <= :now
      AND (due_at, seq) < (:due_at, :seq) LIMIT :limit);

-- name: head_of_queue
-- The first waiting job of a queue, however long it waits.
SELECT id, max(due_at, coalesce(held_until, 0)) FROM jobs
WHERE queue_id = :queue AND state = 'PENDING' ORDER BY due_at, seq LIMIT 1;

-- name: called_with_key
-- The id of the job of this key that is called, be that still wanted or not.
SELECT id FROM jobs WHERE queue_id = :queue AND key = :key AND run_id IS NOT NULL;

-- name: payload
-- The body of one job.
SELECT body FROM payloads WHERE job_seq = :seq;

-- name: next_due
-- When the first job of a queue may start that a claim would find.
SELECT max(j.due_at, coalesce(j.held_until, 0)) FROM jobs j
WHERE j.queue_id = :queue AND j.state = 'PENDING'
  AND (j.key IS NULL OR NOT EXISTS (
        SELECT 1 FROM jobs x
        WHERE x.queue_id = j.queue_id AND x.key = j.key AND x.run_id IS NOT NULL))
ORDER BY j.due_at, j.seq LIMIT 1;

-- name: start_jobs
-- Claim waiting jobs for their runs.
WITH v (seq, run) AS (VALUES :rows(2))
UPDATE jobs SET state = 'RUNNING', run_id = v.run, held_until = NULL
FROM v WHERE jobs.seq = v.seq AND jobs.state = 'PENDING';

-- name: finish_jobs
-- End the runs of jobs that still belong to them, for good.
WITH v (seq, run, state, finished_at, failures, status, error) AS (VALUES :rows(7))
UPDATE jobs SET state = v.state, run_id = NULL, finished_at = v.finished_at,
    failures = v.failures, interruptions = 0, last_status = v.status, error = v.error,
    fingerprint = iif(v.state = 'FAILED', fingerprint(jobs.target, v.status, v.error), NULL)
FROM v WHERE jobs.seq = v.seq AND jobs.run_id = v.run AND jobs.state = 'RUNNING';

-- name: return_jobs
-- End the runs of jobs that still belong to them, to wait again.
WITH v (seq, run, due_at, held_until, failures, interruptions, status, error)
    AS (VALUES :rows(8))
UPDATE jobs SET state = 'PENDING', run_id = NULL, due_at = v.due_at, held_until = v.held_until,
    failures = v.failures, interruptions = v.interruptions,
    last_status = coalesce(v.status, jobs.last_status), error = v.error
FROM v WHERE jobs.seq = v.seq AND jobs.run_id = v.run AND jobs.state = 'RUNNING';

-- name: owned_runs
-- Which runs still own their job, as one row of JSON.
WITH v (seq, run) AS (VALUES :rows(2))
SELECT json_group_array(v.run) FROM v
JOIN jobs j ON j.seq = v.seq AND j.run_id = v.run AND j.state = 'RUNNING';

-- name: end_runs
-- Remember what came of attempts, once.
WITH v (id, started_at, ended_at, outcome, status, error, headers, body, truncated, log)
    AS (VALUES :rows(10))
UPDATE runs SET started_at = v.started_at, ended_at = v.ended_at, outcome = v.outcome, status = v.status,
    error = v.error, headers = v.headers, body = v.body, truncated = v.truncated,
    log = v.log
FROM v WHERE runs.id = v.id AND runs.ended_at IS NULL;

-- name: forget_runs
-- Forget runs in which nothing was called.
DELETE FROM runs WHERE id IN (SELECT column1 FROM (VALUES :rows(1))) AND ended_at IS NULL;

-- name: let_go
-- Free the keys of cancelled jobs whose calls have ended.
WITH v (seq, run) AS (VALUES :rows(2))
UPDATE jobs SET run_id = NULL
FROM v WHERE jobs.seq = v.seq AND jobs.run_id = v.run AND jobs.state = 'CANCELLED';

-- name: waiting_successor
-- The id of the job that waits under this key.
SELECT id FROM jobs WHERE queue_id = :queue AND key = :key AND state = 'PENDING';

-- name: lost_runs
-- The calls of cancelled jobs that the last daemon did not see the end of, but for those whose
-- handler may call back still.
SELECT u.job_seq, u.id FROM runs u JOIN jobs j ON j.seq = u.job_seq
WHERE u.ended_at IS NULL AND u.id < :first_run AND u.deadline_at IS NULL
  AND j.state = 'CANCELLED';

-- name: close_lost_run
-- End a run that nobody saw the end of.
UPDATE runs SET ended_at = :now, outcome = 'interrupted',
    error = 'interrupted: the daemon died after the item was cancelled'
WHERE id = :run AND ended_at IS NULL;

-- name: orphans
-- What was called when the last daemon ended, and not accepted yet.
SELECT r.*, p.body, u.started_at FROM runs u
JOIN job_rows r ON r.seq = u.job_seq AND r.run_id = u.id
JOIN payloads p ON p.job_seq = r.seq
WHERE u.ended_at IS NULL AND u.deadline_at IS NULL ORDER BY r.due_at, r.seq;

-- name: accept_run
-- Note that the handler of an open run has taken the job on, and by when it has to call back.
UPDATE runs SET started_at = :started_at, deadline_at = :deadline_at, status = :status
WHERE id = :run AND ended_at IS NULL;

-- name: extend_run
-- Give the handler of an open run more time, if its job is still wanted.
UPDATE runs SET started_at = :started_at, deadline_at = :deadline_at
WHERE id = :run AND ended_at IS NULL
  AND EXISTS (SELECT 1 FROM jobs j WHERE j.seq = runs.job_seq AND j.run_id = runs.id
              AND j.state = 'RUNNING');

-- name: accepted_runs
-- The open runs whose handlers have taken the job on, wanted still or not.
SELECT r.*, NULL, u.id, u.started_at, u.deadline_at, u.status
FROM runs u JOIN job_rows r ON r.seq = u.job_seq
WHERE u.ended_at IS NULL AND u.deadline_at IS NOT NULL ORDER BY u.id;

-- name: callback_key
-- What the tokens of callbacks are made with.
SELECT key FROM callback_key;

-- name: put_process
-- Write down which process a run is, unless its job was cancelled.
INSERT INTO processes (run_id, pid, started, boot)
SELECT u.id, :pid, :started, :boot FROM runs u
JOIN jobs j ON j.seq = u.job_seq AND j.run_id = u.id AND j.state = 'RUNNING'
WHERE u.id = :run;

-- name: open_processes
-- The processes of runs that nobody has seen the end of.
SELECT j.id, p.pid, p.started, p.boot FROM runs u
JOIN processes p ON p.run_id = u.id JOIN jobs j ON j.seq = u.job_seq
WHERE u.ended_at IS NULL ORDER BY u.id;

-- name: open_run
-- Whether a call of this job has not ended, be it still wanted or not.
SELECT 1 FROM runs WHERE job_seq = :seq AND ended_at IS NULL;

-- name: job_by_id
-- One job, whatever its state.
SELECT r.*, p.body FROM job_rows r JOIN payloads p ON p.job_seq = r.seq WHERE r.id = :id;

-- name: jobs_by_key
-- The unprocessed jobs with this key, the waiting one first.
SELECT r.*, p.body FROM job_rows r JOIN payloads p ON p.job_seq = r.seq
WHERE r.queue_id = (SELECT id FROM queues WHERE name = :queue) AND r.key = :key
  AND r.state = 'PENDING'
UNION ALL
SELECT r.*, p.body FROM jobs j
JOIN job_rows r ON r.seq = j.seq JOIN payloads p ON p.job_seq = r.seq
WHERE j.queue_id = (SELECT id FROM queues WHERE name = :queue) AND j.key = :key
  AND j.run_id IS NOT NULL AND j.state = 'RUNNING';

-- name: cancel_job
-- Cancel an unprocessed job; a run of it that still goes on counts, but changes nothing any
-- more; it keeps the key until it ends.
UPDATE jobs SET state = 'CANCELLED', failures = failures + (run_id IS NOT NULL),
    finished_at = :now, error = 'cancelled'
WHERE seq = :seq AND state IN ('PENDING', 'RUNNING');

-- name: edit_job
-- Change a waiting job.
UPDATE jobs SET not_before = :not_before, due_at = :due_at, expires_at = :expires_at,
    expires_ms = iif(expires_at IS :expires_at, expires_ms, :expires_ms),
    target = :target, method = :method, headers = :headers, content_type = :content_type,
    retry = :retry, timeout_ms = :timeout_ms, labels = :labels, error = :error,
    held_until = :held_until
WHERE seq = :seq AND state = 'PENDING';

-- name: revive_job
-- Make a finished job wait again, as if just pushed.
UPDATE jobs SET state = 'PENDING', not_before = :now, due_at = :now, expires_at = NULL,
    expires_ms = NULL, finished_at = NULL, failures = 0, interruptions = 0,
    last_status = NULL, error = NULL, held_until = NULL, fingerprint = NULL
WHERE seq = :seq AND state IN ('COMPLETED', 'FAILED', 'CANCELLED');

-- name: expired_jobs
-- Waiting jobs whose expiry has passed, as one row of JSON.
SELECT json_group_array(json_array(seq, queue_id, failures)) FROM (
    SELECT seq, queue_id, failures FROM jobs
    WHERE state = 'PENDING' AND expires_at IS NOT NULL AND expires_at <= :now
    ORDER BY expires_at LIMIT :limit);

-- name: expire_jobs
-- Fail waiting jobs whose expiry has passed.
WITH v (seq, now) AS (VALUES :rows(2))
UPDATE jobs SET state = 'FAILED', finished_at = v.now,
    error = 'expired' || coalesce('; last attempt: ' || error, ' before it could start'),
    fingerprint = fingerprint(jobs.target, jobs.last_status,
        'expired' || coalesce('; last attempt: ' || error, ' before it could start'))
FROM v WHERE jobs.seq = v.seq AND jobs.state = 'PENDING';

-- name: next_expiry
-- When the next waiting job expires.
SELECT min(expires_at) FROM jobs WHERE state = 'PENDING' AND expires_at IS NOT NULL;

-- name: oldest_finished
-- The jobs that finished longest ago and are not called any more, with what bytes they hold,
-- as one row of JSON.
SELECT json_group_array(json_array(seq, queue_id, state, bytes)) FROM (
    SELECT j.seq, j.queue_id, j.state,
           (SELECT length(body) FROM payloads WHERE job_seq = j.seq)
           + (SELECT coalesce(sum(length(body)), 0) + coalesce(sum(length(log)), 0)
              FROM runs WHERE job_seq = j.seq) AS bytes
    FROM jobs j
    WHERE j.finished_at IS NOT NULL AND j.finished_at < :before AND j.run_id IS NULL
      AND (j.fire_at IS NULL OR j.fire_at < :fired_before)
    ORDER BY j.finished_at, j.seq LIMIT :limit);

-- name: prune_jobs
-- Forget jobs; payloads and runs go with them.
DELETE FROM jobs WHERE seq IN (SELECT column1 FROM (VALUES :rows(1)));

-- name: attempts
-- The remembered attempts of a job.
SELECT u.attempt, u.started_at, u.ended_at, u.outcome, u.status, u.error, u.headers, u.body,
       u.truncated, u.log
FROM runs u JOIN jobs j ON j.seq = u.job_seq WHERE j.id = :id ORDER BY u.id;

-- name: queue_id
-- The row of a queue, deleted or not.
SELECT id FROM queues WHERE name = :name;

-- name: queue_names
-- All queues with their row numbers, deleted ones too: their history is still there.
SELECT id, name FROM queues;

-- name: add_queue
-- Bring a queue into being, or back.
INSERT INTO queues (name, created_at) VALUES (:name, :now)
ON CONFLICT (name) DO UPDATE SET deleted_at = NULL RETURNING id;

-- name: queues
-- Queues that were not deleted, or still hold unprocessed jobs; with when the next job is due.
SELECT q.name, q.created_at, q.target, q.method, q.headers, q.concurrency, q.retry, q.timeout_ms,
       q.rate, q.burst, q.fifo, q.paused, q.paused_until, q.pause_reason, q.paced_until, q.pending, q.retrying, q.running, q.completed, q.failed,
       q.cancelled,
       (SELECT max(j.due_at, coalesce(j.held_until, 0)) FROM jobs j
        WHERE j.queue_id = q.id AND j.state = 'PENDING' ORDER BY j.due_at, j.seq LIMIT 1)
FROM queues q
WHERE (:name IS NULL OR q.name = :name)
  AND (q.deleted_at IS NULL OR q.pending + q.retrying + q.running > 0)
ORDER BY q.name;

-- name: set_queue
-- Change a queue's settings and pause.
UPDATE queues SET target = :target, method = :method, headers = :headers,
    concurrency = :concurrency, retry = :retry, timeout_ms = :timeout_ms,
    rate = :rate, burst = :burst, fifo = :fifo,
    paused = :paused, paused_until = :paused_until, pause_reason = :pause_reason
WHERE name = :name;

-- name: held_queues
-- The queues whose first waiting job is held.
SELECT q.name FROM queues q
WHERE (SELECT j.held_until FROM jobs j WHERE j.queue_id = q.id AND j.state = 'PENDING'
       ORDER BY j.due_at, j.seq LIMIT 1) IS NOT NULL;

-- name: unhold
-- Put the held jobs at the head of a queue where they wait without holding up others.
UPDATE jobs SET due_at = held_until, held_until = NULL
WHERE held_until IS NOT NULL AND seq IN (
    SELECT seq FROM jobs WHERE queue_id = :queue AND state = 'PENDING'
    ORDER BY due_at, seq LIMIT :limit);

-- name: pace_queue
-- Remember what the last starts have used up of a queue's rate.
UPDATE queues SET paced_until = :until WHERE id = :queue;

-- name: delete_queue
-- Hide a queue and forget its settings; history keeps its name.
UPDATE queues SET deleted_at = :now, target = NULL, method = NULL, headers = NULL,
    concurrency = NULL, retry = NULL, timeout_ms = NULL, rate = NULL, burst = NULL, fifo = NULL,
    paused = 0, paused_until = NULL, pause_reason = NULL
WHERE id = :queue;

-- name: first_waiting
-- Waiting jobs of a queue, as one row of JSON.
SELECT json_group_array(json_array(seq, failures)) FROM (
    SELECT seq, failures FROM jobs WHERE queue_id = :queue AND state = 'PENDING'
    ORDER BY due_at, seq LIMIT :limit);

-- name: cancel_with_queue
-- Cancel waiting jobs whose queue is deleted.
WITH v (seq, now) AS (VALUES :rows(2))
UPDATE jobs SET state = 'CANCELLED', finished_at = v.now, error = 'cancelled with its queue'
FROM v WHERE jobs.seq = v.seq AND jobs.state = 'PENDING';

-- name: count
-- Carry one transaction's moves into a queue's counts.
UPDATE queues SET pending = pending + :pending, retrying = retrying + :retrying,
    running = running + :running, completed = completed + :completed,
    failed = failed + :failed, cancelled = cancelled + :cancelled
WHERE id = :queue;

-- name: add_token
-- Remember a token by its digest.
INSERT INTO tokens (name, digest, scopes, queues, created_at, expires_at)
VALUES (:name, :digest, :scopes, :queues, :created_at, :expires_at);

-- name: tokens
-- All tokens.
SELECT name, digest, scopes, created_at, queues, expires_at, revoked_at, used_at
FROM tokens ORDER BY name, id;

-- name: revoke_token
-- Revoke the live token of this name.
UPDATE tokens SET revoked_at = :now WHERE name = :name AND revoked_at IS NULL
RETURNING name, digest, scopes, created_at, queues, expires_at, revoked_at, used_at;

-- name: touch_token
-- Remember when a token was last used.
UPDATE tokens SET used_at = :now WHERE digest = :digest;

-- name: last_ids
-- The highest ids ever given, so that none is given twice.
SELECT name, seq FROM sqlite_sequence WHERE name IN ('jobs', 'runs');

-- name: hold
-- Since when nothing may start, if so.
SELECT since, backup_at FROM hold;

-- name: end_hold
-- Let jobs start again.
DELETE FROM hold;

-- name: given_ids
-- How many ids were ever given to jobs and runs.
SELECT coalesce(sum(seq), 0) FROM sqlite_sequence WHERE name IN ('jobs', 'runs');
