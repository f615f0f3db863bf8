-- The statements on alerts, by name.

-- name: insert_notices
-- Keep notices until they are judged.
INSERT INTO notices (body) SELECT * FROM (VALUES :rows(1)) WHERE column1 IS NOT NULL;

-- name: notices
-- The oldest notices.
SELECT id, body FROM notices ORDER BY id LIMIT :limit;

-- name: forget_notices
-- Forget notices that have been judged.
DELETE FROM notices WHERE id <= :id;

-- name: standings
-- How everything stands.
SELECT alert, subject, body FROM standings;

-- name: put_standing
-- Remember how a subject stands.
INSERT INTO standings (alert, subject, body) VALUES (:alert, :subject, :body)
ON CONFLICT (alert, subject) DO UPDATE SET body = excluded.body;

-- name: forget_standing
-- A subject stands well again.
DELETE FROM standings WHERE alert = :alert AND subject = :subject;

-- name: alert_lines
-- What is to be told.
SELECT alert, body FROM alert_lines;

-- name: put_alert_line
-- Have something told.
INSERT INTO alert_lines (alert, subject, kind, body) VALUES (:alert, :subject, :kind, :body)
ON CONFLICT (alert, subject, kind) DO UPDATE SET body = excluded.body;

-- name: forget_alert_lines
-- All that a rule had to tell is part of a message.
DELETE FROM alert_lines WHERE alert = :alert;

-- name: alert_messages
-- When each rule last had a message.
SELECT alert, at FROM alert_messages;

-- name: put_alert_message
-- Remember when a rule had its last message.
INSERT INTO alert_messages (alert, at) VALUES (:alert, :at)
ON CONFLICT (alert) DO UPDATE SET at = excluded.at;

-- name: jobs_by_seq
-- Jobs by their row numbers, without payloads.
WITH v (seq) AS (VALUES :rows(1))
SELECT r.*, NULL FROM v JOIN job_rows r ON r.seq = v.seq;

-- name: late_jobs
-- The jobs of a queue that should have begun long ago and never have, in due order.
SELECT r.*, NULL FROM job_rows r
WHERE r.queue_id = :queue AND r.state = 'PENDING' AND r.due_at <= :before AND r.failures = 0
ORDER BY r.due_at, r.seq LIMIT :limit;

-- name: running_since
-- The runs that began before an instant.
SELECT r.*, NULL, u.started_at FROM runs u JOIN job_rows r ON r.seq = u.job_seq AND r.run_id = u.id
WHERE u.ended_at IS NULL AND u.started_at <= :before ORDER BY u.id LIMIT :limit;
