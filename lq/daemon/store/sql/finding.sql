-- name: running_places
-- Running jobs after a place, in the order they were claimed.
SELECT u.id, u.job_seq FROM runs u JOIN jobs j ON j.seq = u.job_seq AND j.run_id = u.id
WHERE u.ended_at IS NULL AND u.id > :run AND j.state = 'RUNNING' ORDER BY u.id LIMIT :limit;

-- name: waiting_places
-- Waiting jobs after a place, by queue in due order.
SELECT queue_id, due_at, seq FROM jobs INDEXED BY jobs_due
WHERE state = 'PENDING' AND (queue_id, due_at, seq) > (:queue, :due_at, :seq)
ORDER BY queue_id, due_at, seq LIMIT :limit;

-- name: waiting_places_of_queue
-- Waiting jobs of one queue after a place, in due order.
SELECT queue_id, due_at, seq FROM jobs INDEXED BY jobs_due
WHERE state = 'PENDING' AND queue_id = :of AND (due_at, seq) > (:due_at, :seq)
ORDER BY due_at, seq LIMIT :limit;

-- name: waiting_places_of_key
-- The waiting job with a key of one queue, if it is after a place.
SELECT queue_id, due_at, seq FROM jobs INDEXED BY jobs_key_waiting
WHERE state = 'PENDING' AND queue_id = :queue_of AND key = :of
  AND (due_at, seq) > (:due_at, :seq) LIMIT :limit;

-- name: waiting_places_of_schedule
-- Waiting jobs of one schedule after a place, by queue in due order.
SELECT queue_id, due_at, seq FROM jobs INDEXED BY jobs_unfinished_of_schedule
WHERE schedule_id = :of AND (state = 'PENDING' OR run_id IS NOT NULL) AND state = 'PENDING'
  AND (queue_id, due_at, seq) > (:queue, :due_at, :seq)
ORDER BY queue_id, due_at, seq LIMIT :limit;

-- name: finished_places
-- Finished jobs before a place, newest first.
SELECT finished_at, seq FROM jobs INDEXED BY jobs_finished
WHERE finished_at IS NOT NULL AND (finished_at, seq) < (:at, :seq) AND finished_at >= :from_at
ORDER BY finished_at DESC, seq DESC LIMIT :limit;

-- name: finished_places_of_queue
-- The same of one queue.
SELECT finished_at, seq FROM jobs INDEXED BY jobs_finished_of_queue
WHERE finished_at IS NOT NULL AND (finished_at, seq) < (:at, :seq) AND finished_at >= :from_at
  AND queue_id = :of
ORDER BY finished_at DESC, seq DESC LIMIT :limit;

-- name: finished_places_of_state
-- The same in one state that is not COMPLETED.
SELECT finished_at, seq FROM jobs INDEXED BY jobs_ended_badly
WHERE state IN ('FAILED', 'CANCELLED') AND state = :of
  AND (finished_at, seq) < (:at, :seq) AND finished_at >= :from_at
ORDER BY finished_at DESC, seq DESC LIMIT :limit;

-- name: finished_places_of_state_in_queue
-- The same in one state that is not COMPLETED, of one queue.
SELECT finished_at, seq FROM jobs INDEXED BY jobs_ended_badly_in_queue
WHERE state IN ('FAILED', 'CANCELLED') AND state = :of AND queue_id = :queue_of
  AND (finished_at, seq) < (:at, :seq) AND finished_at >= :from_at
ORDER BY finished_at DESC, seq DESC LIMIT :limit;

-- name: finished_places_of_key
-- The same with one key.
SELECT finished_at, seq FROM jobs INDEXED BY jobs_finished_with_key
WHERE key = :of AND finished_at IS NOT NULL
  AND (finished_at, seq) < (:at, :seq) AND finished_at >= :from_at
ORDER BY finished_at DESC, seq DESC LIMIT :limit;

-- name: finished_places_of_schedule
-- The same of one schedule.
SELECT finished_at, seq FROM jobs INDEXED BY jobs_finished_of_schedule
WHERE schedule_id = :of AND finished_at IS NOT NULL
  AND (finished_at, seq) < (:at, :seq) AND finished_at >= :from_at
ORDER BY finished_at DESC, seq DESC LIMIT :limit;

-- name: finished_places_of_label
-- The same with one label.
SELECT finished_at, job_seq FROM job_labels
WHERE label = :of AND (finished_at, job_seq) < (:at, :seq) AND finished_at >= :from_at
ORDER BY finished_at DESC, job_seq DESC LIMIT :limit;

-- name: finished_places_of_fingerprint
-- The same that have failed alike.
SELECT finished_at, seq FROM jobs INDEXED BY jobs_failed_alike
WHERE fingerprint = :of AND (finished_at, seq) < (:at, :seq) AND finished_at >= :from_at
ORDER BY finished_at DESC, seq DESC LIMIT :limit;

-- name: finished_places_of_fingerprint_in_queue
-- The same that have failed alike, of one queue.
SELECT finished_at, seq FROM jobs INDEXED BY jobs_failed_alike_in_queue
WHERE fingerprint = :of AND queue_id = :queue_of
  AND (finished_at, seq) < (:at, :seq) AND finished_at >= :from_at
ORDER BY finished_at DESC, seq DESC LIMIT :limit;

-- name: matching
-- Those of some jobs that a filter lets through.
SELECT j.seq FROM json_each(:seqs) e CROSS JOIN jobs j ON j.seq = e.value
WHERE (:queue IS NULL OR j.queue_id = :queue)
  AND (:queues IS NULL OR j.queue_id IN (SELECT value FROM json_each(:queues)))
  AND (:state IS NULL OR j.state = :state)
  AND (:retrying IS NULL OR (j.failures > 0) = :retrying)
  AND (:key IS NULL OR j.key = :key)
  AND (:label IS NULL OR instr(j.labels, :label) > 0)
  AND (:schedule IS NULL OR j.schedule_id = :schedule)
  AND (:target IS NULL OR j.target = :target)
  AND (:beginning IS NULL OR substr(j.target, 1, length(:beginning)) = :beginning)
  AND (:error IS NULL OR instr(lower(j.error), lower(:error)) > 0)
  AND (:fingerprint IS NULL OR j.fingerprint = :fingerprint)
  AND (:created_from IS NULL OR j.created_at >= :created_from)
  AND (:created_to IS NULL OR j.created_at < :created_to);

-- name: jobs_at
-- Some jobs, without payloads.
SELECT r.*, NULL FROM json_each(:seqs) e CROSS JOIN job_rows r ON r.seq = e.value;

-- name: failure_places
-- Kinds of failures by queue before a place, the last seen first.
SELECT last_at, fingerprint, queue_id FROM failures
WHERE (last_at, fingerprint, queue_id) < (:at, :fingerprint, :queue) AND last_at >= :from_at
ORDER BY last_at DESC, fingerprint DESC, queue_id DESC LIMIT :limit;

-- name: failure_in_queues
-- One kind of failure by queue, the last seen first.
SELECT f.last_at, f.queue_id, q.name, f.number, (
    SELECT min(j.finished_at) FROM jobs j
    WHERE j.fingerprint = f.fingerprint AND j.queue_id = f.queue_id)
FROM failures f JOIN queues q ON q.id = f.queue_id WHERE f.fingerprint = :fingerprint;

-- name: last_failure
-- The last job of a queue that has failed in one way.
SELECT id, target, last_status, error FROM jobs INDEXED BY jobs_failed_alike_in_queue
WHERE fingerprint = :fingerprint AND queue_id = :queue
ORDER BY finished_at DESC, seq DESC LIMIT 1;
