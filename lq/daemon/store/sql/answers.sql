-- The statements on answers that are kept for repetitions, by name.

-- name: kept_answer
-- What the request under a key was answered, unless that is too long ago.
SELECT request, answer FROM answers WHERE key = :key AND answered_at > :after;

-- name: keep_answer
-- Keep an answer, in the place of one that is too old to count.
INSERT INTO answers (key, request, answered_at, answer) VALUES (:key, :request, :at, :answer)
ON CONFLICT (key) DO UPDATE SET request = excluded.request, answered_at = excluded.answered_at,
    answer = excluded.answer;

-- name: old_answers
-- The oldest of those that are too old to count.
SELECT seq FROM answers WHERE answered_at <= :before ORDER BY answered_at LIMIT :limit;

-- name: forget_answers
-- Forget answers.
DELETE FROM answers WHERE seq IN (SELECT column1 FROM (VALUES :rows(1)));
