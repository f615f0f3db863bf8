-- As before, with the queue of the last job: a schedule may have moved to another since.
DROP VIEW schedule_rows;
CREATE VIEW schedule_rows AS
SELECT s.id, s.rule, s.zone, s.key, s.times, s.start_at, s.until_at, s.jitter_ms, s.misfire,
       s.overlap, s.queue, s.options, s.created_at, s.anchor_at, s.seen_at, s.next_at, s.fired,
       s.last_at, s.last_job, j.state AS last_state, j.failures AS last_failures,
       j.finished_at AS last_finished_at, j.error AS last_error, s.paused, s.reason, s.origin,
       s.seq, q.name AS last_queue
FROM schedules s LEFT JOIN jobs j ON j.id = s.last_job LEFT JOIN queues q ON q.id = j.queue_id;
