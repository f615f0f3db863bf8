-- The statements on what has happened, slot by slot; queue 0 is the sum over all.

-- name: add_activity
-- Add to slots, which come into being if need be.
INSERT INTO activity (slot_ms, at, queue_id, taken, completed, failed, retried, cancelled, started,
                      timed, late_ms, late_max_ms)
SELECT * FROM (VALUES :rows(12)) WHERE column1 IS NOT NULL
ON CONFLICT (slot_ms, at, queue_id) DO UPDATE SET
    taken = taken + excluded.taken, completed = completed + excluded.completed,
    failed = failed + excluded.failed, retried = retried + excluded.retried,
    cancelled = cancelled + excluded.cancelled, started = started + excluded.started,
    timed = timed + excluded.timed, late_ms = late_ms + excluded.late_ms,
    late_max_ms = max(late_max_ms, excluded.late_max_ms);

-- name: activity
-- The slots of one queue that begin at these instants.
SELECT a.at, a.taken, a.completed, a.failed, a.retried, a.cancelled, a.started, a.timed, a.late_ms,
       a.late_max_ms
FROM json_each(:slots) w CROSS JOIN activity a
    ON a.slot_ms = :slot_ms AND a.at = w.value AND a.queue_id = :queue;

-- name: activity_of_queues
-- The slots of some queues together, in a range of time.
SELECT at, sum(taken), sum(completed), sum(failed), sum(retried), sum(cancelled), sum(started),
       sum(timed), sum(late_ms), max(late_max_ms)
FROM activity
WHERE slot_ms = :slot_ms AND at >= :first_at AND at < :end_at
  AND queue_id IN (SELECT value FROM json_each(:queues))
GROUP BY at;

-- name: was_here
-- Whether anything had happened by a clock that showed about this time, an hour to a day ago.
SELECT 1 FROM activity
WHERE slot_ms = :slot_ms AND at > :after AND at <= :before AND queue_id = 0 LIMIT 1;

-- name: forget_old_activity
-- Forget the oldest slots, so many at most.
DELETE FROM activity WHERE (slot_ms, at, queue_id) IN (
    SELECT slot_ms, at, queue_id FROM activity
    WHERE slot_ms = :slot_ms AND at < :before ORDER BY at LIMIT :limit);

-- name: forget_future_activity
-- Forget slots that a clock has counted that was wrong, the furthest ahead first.
DELETE FROM activity WHERE (slot_ms, at, queue_id) IN (
    SELECT slot_ms, at, queue_id FROM activity
    WHERE slot_ms = :slot_ms AND at > :after ORDER BY at DESC LIMIT :limit);
