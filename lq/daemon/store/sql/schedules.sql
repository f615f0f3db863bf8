-- The statements on schedules, by name; see queries.sql for what `VALUES :rows(n)` stands for.

-- name: schedule_with_key
-- Another schedule that has this key.
SELECT id FROM schedules WHERE key = :key AND id <> :id;

-- name: put_schedule
-- Insert a schedule or change the one with its id; its last job stays.
INSERT INTO schedules (id, key, queue, rule, zone, times, start_at, until_at, jitter_ms, misfire,
                       overlap, origin, options, created_at, anchor_at, seen_at, next_at, fired,
                       last_at, last_job, paused, reason)
VALUES (:id, :key, :queue, :rule, :zone, :times, :start_at, :until_at, :jitter_ms, :misfire,
        :overlap, :origin, :options, :created_at, :anchor_at, :seen_at,
        iif(:paused OR :fired >= :times, NULL, :next_at), :fired,
        :last_at, :last_job, :paused, :reason)
ON CONFLICT (id) DO UPDATE SET key = excluded.key, queue = excluded.queue, rule = excluded.rule,
    zone = excluded.zone, times = excluded.times, start_at = excluded.start_at,
    until_at = excluded.until_at, jitter_ms = excluded.jitter_ms, misfire = excluded.misfire,
    overlap = excluded.overlap, origin = excluded.origin, options = excluded.options,
    created_at = excluded.created_at, anchor_at = excluded.anchor_at, seen_at = excluded.seen_at,
    next_at = excluded.next_at, fired = excluded.fired, last_at = excluded.last_at,
    paused = excluded.paused, reason = excluded.reason
RETURNING seq;

-- name: put_schedule_payload
-- Store the body that a schedule's jobs carry.
INSERT INTO schedule_payloads (schedule_seq, body) VALUES (:seq, :body)
ON CONFLICT (schedule_seq) DO UPDATE SET body = excluded.body WHERE body <> excluded.body;

-- name: schedule_by_id
-- One schedule.
SELECT r.*, p.body FROM schedule_rows r JOIN schedule_payloads p ON p.schedule_seq = r.seq
WHERE r.id = :id;

-- name: schedule_by_key
-- The schedule with this key.
SELECT r.*, p.body FROM schedule_rows r JOIN schedule_payloads p ON p.schedule_seq = r.seq
WHERE r.key = :key;

-- name: delete_schedule
-- Forget a schedule; its payload goes with it.
DELETE FROM schedules WHERE id = :id;

-- name: schedule_queues
-- The queues that schedules push to.
SELECT DISTINCT queue FROM schedules;

-- name: schedules_with_key
-- Schedules after a cursor, by key.
SELECT r.* FROM schedule_rows r
WHERE r.key > :after_key
  AND (:queue IS NULL OR r.queue = :queue)
  AND (:queues IS NULL OR r.queue IN (SELECT value FROM json_each(:queues)))
  AND (:origin IS NULL OR r.origin = :origin)
ORDER BY r.key LIMIT :limit;

-- name: schedules_without_key
-- Schedules without a key after a cursor, by creation.
SELECT r.* FROM schedule_rows r
WHERE r.key IS NULL AND (r.created_at, r.seq) > (:after_created, :after_seq)
  AND (:queue IS NULL OR r.queue = :queue)
  AND (:queues IS NULL OR r.queue IN (SELECT value FROM json_each(:queues)))
  AND (:origin IS NULL OR r.origin = :origin)
ORDER BY r.created_at, r.seq LIMIT :limit;

-- name: due_schedules
-- The schedules longest due, as one row of JSON; payloads as in due_jobs.
SELECT json_group_array(json_array(
    id, rule, zone, key, times, start_at, until_at, jitter_ms, misfire, overlap, queue, options,
    created_at, anchor_at, seen_at, next_at, fired, last_at, last_job, last_state, last_failures,
    last_finished_at, last_error, paused, reason, origin, seq, last_queue,
    CASE WHEN length(body) <= :inline THEN hex(body) END))
FROM (
    SELECT r.*, p.body FROM schedule_rows r JOIN schedule_payloads p ON p.schedule_seq = r.seq
    WHERE r.next_at <= :now ORDER BY r.next_at, r.seq LIMIT :limit);

-- name: next_schedule
-- When the first schedule is due.
SELECT min(next_at) FROM schedules WHERE next_at IS NOT NULL;

-- name: schedules_seen_after
-- Schedules that are not paused and have dealt with times after an instant.
SELECT r.* FROM schedule_rows r
WHERE r.paused = 0 AND r.seen_at > :at ORDER BY r.seen_at, r.seq LIMIT :limit;

-- name: positions
-- Where schedules are, and a job of theirs that is unfinished if that matters, as one row of JSON.
WITH v (id) AS (VALUES :rows(1))
SELECT json_group_array(json_array(
    s.id, s.seen_at, s.next_at, s.times, s.fired, s.last_at, s.last_job,
    json(iif(s.paused, 'true', 'false')), s.reason, s.overlap, iif(s.overlap = 'skip', (
        SELECT j.id FROM jobs j
        WHERE j.schedule_id = s.id AND (j.state = 'PENDING' OR j.run_id IS NOT NULL)
        LIMIT 1), NULL)))
FROM v JOIN schedules s ON s.id = v.id;

-- name: known_firings
-- For which of these times a schedule has a job already, as one row of JSON.
WITH v (schedule, at) AS (VALUES :rows(2))
SELECT json_group_array(json_array(v.schedule, v.at))
FROM v JOIN jobs j ON j.schedule_id = v.schedule AND j.fire_at = v.at;

-- name: move_schedules
-- Bring schedules to where they are now, unless they are somewhere else.
WITH v (id, seen_before, seen_at, next_at, fired, last_at, last_job, paused, reason)
    AS (VALUES :rows(9))
UPDATE schedules SET seen_at = v.seen_at, next_at = v.next_at, fired = v.fired,
    last_at = v.last_at, last_job = v.last_job, paused = v.paused, reason = v.reason
FROM v WHERE schedules.id = v.id AND schedules.seen_at = v.seen_before;

-- name: clock_mark
-- The latest instant at which the daemon is known to have lived.
SELECT mark_at FROM clock;

-- name: raise_clock_mark
-- Remember an instant, unless a later one is remembered.
INSERT INTO clock (id, mark_at) VALUES (1, :at)
ON CONFLICT (id) DO UPDATE SET mark_at = max(mark_at, excluded.mark_at);

-- name: set_clock_mark
-- Remember an instant, whatever was before.
INSERT INTO clock (id, mark_at) VALUES (1, :at)
ON CONFLICT (id) DO UPDATE SET mark_at = excluded.mark_at;

-- name: schedule_counts
-- How many schedules there are, and how many should have fired before an instant.
SELECT (SELECT count(*) FROM schedules),
       (SELECT count(*) FROM schedules WHERE next_at IS NOT NULL AND next_at < :before);

-- name: latest_seen
-- The latest instant up to which a schedule that is not paused has seen its times.
SELECT max(seen_at) FROM schedules WHERE paused = 0;
