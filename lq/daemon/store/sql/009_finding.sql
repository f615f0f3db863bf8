-- What finished jobs are found by, and what their failures have in common.

-- The kind of a failure (lq/fingerprint.py); of FAILED jobs alone.
ALTER TABLE jobs ADD COLUMN fingerprint TEXT;
UPDATE jobs SET fingerprint = fingerprint(target, last_status, error) WHERE state = 'FAILED';

CREATE INDEX jobs_finished_of_queue ON jobs (queue_id, finished_at, seq)
    WHERE finished_at IS NOT NULL;
-- Most jobs are COMPLETED, and pay for none of the others.
CREATE INDEX jobs_ended_badly ON jobs (state, finished_at, seq)
    WHERE state IN ('FAILED', 'CANCELLED');
CREATE INDEX jobs_ended_badly_in_queue ON jobs (queue_id, state, finished_at, seq)
    WHERE state IN ('FAILED', 'CANCELLED');
CREATE INDEX jobs_finished_with_key ON jobs (key, finished_at, seq)
    WHERE key IS NOT NULL AND finished_at IS NOT NULL;
CREATE INDEX jobs_failed_alike ON jobs (fingerprint, finished_at, seq)
    WHERE fingerprint IS NOT NULL;
CREATE INDEX jobs_failed_alike_in_queue ON jobs (fingerprint, queue_id, finished_at, seq)
    WHERE fingerprint IS NOT NULL;

-- The finished jobs with each label. Triggers keep it, and `failures`, because jobs finish, are
-- revived and forgotten in many statements.
CREATE TABLE job_labels (
    label       TEXT    NOT NULL,
    finished_at INTEGER NOT NULL,
    job_seq     INTEGER NOT NULL,
    PRIMARY KEY (label, finished_at, job_seq)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO job_labels (label, finished_at, job_seq)
SELECT l.value, j.finished_at, j.seq FROM jobs j,
    json_each('[' || replace(json_quote(trim(j.labels, ',')), ',', '","') || ']') l
WHERE j.labels <> '' AND j.finished_at IS NOT NULL;

CREATE TRIGGER labels_of_finished AFTER UPDATE OF finished_at ON jobs
WHEN NEW.labels <> '' AND OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL
BEGIN
    INSERT OR IGNORE INTO job_labels (label, finished_at, job_seq)
    SELECT value, NEW.finished_at, NEW.seq
    FROM json_each('[' || replace(json_quote(trim(NEW.labels, ',')), ',', '","') || ']');
END;

CREATE TRIGGER labels_of_skipped AFTER INSERT ON jobs
WHEN NEW.finished_at IS NOT NULL AND NEW.labels <> ''
BEGIN
    INSERT OR IGNORE INTO job_labels (label, finished_at, job_seq)
    SELECT value, NEW.finished_at, NEW.seq
    FROM json_each('[' || replace(json_quote(trim(NEW.labels, ',')), ',', '","') || ']');
END;

CREATE TRIGGER labels_of_revived AFTER UPDATE OF finished_at ON jobs
WHEN OLD.labels <> '' AND OLD.finished_at IS NOT NULL AND NEW.finished_at IS NULL
BEGIN
    DELETE FROM job_labels
    WHERE finished_at = OLD.finished_at AND job_seq = OLD.seq AND label IN (
        SELECT value
        FROM json_each('[' || replace(json_quote(trim(OLD.labels, ',')), ',', '","') || ']'));
END;

CREATE TRIGGER labels_of_forgotten AFTER DELETE ON jobs
WHEN OLD.labels <> '' AND OLD.finished_at IS NOT NULL
BEGIN
    DELETE FROM job_labels
    WHERE finished_at = OLD.finished_at AND job_seq = OLD.seq AND label IN (
        SELECT value
        FROM json_each('[' || replace(json_quote(trim(OLD.labels, ',')), ',', '","') || ']'));
END;

-- How many jobs of a queue have failed alike, and when the last one did.
CREATE TABLE failures (
    fingerprint TEXT    NOT NULL,
    queue_id    INTEGER NOT NULL REFERENCES queues (id),
    number      INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, queue_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX failures_last ON failures (last_at, fingerprint, queue_id);

INSERT INTO failures (fingerprint, queue_id, number, last_at)
SELECT fingerprint, queue_id, count(*), max(finished_at) FROM jobs
WHERE fingerprint IS NOT NULL GROUP BY fingerprint, queue_id;

CREATE TRIGGER failure_of_finished AFTER UPDATE OF fingerprint ON jobs
WHEN NEW.fingerprint IS NOT NULL AND OLD.fingerprint IS NULL
BEGIN
    INSERT INTO failures (fingerprint, queue_id, number, last_at)
    VALUES (NEW.fingerprint, NEW.queue_id, 1, NEW.finished_at)
    ON CONFLICT (fingerprint, queue_id) DO UPDATE
    SET number = number + 1, last_at = max(last_at, excluded.last_at);
END;

CREATE TRIGGER failure_of_revived AFTER UPDATE OF fingerprint ON jobs
WHEN OLD.fingerprint IS NOT NULL AND NEW.fingerprint IS NULL
BEGIN
    UPDATE failures SET number = number - 1, last_at = coalesce((
        SELECT max(finished_at) FROM jobs
        WHERE fingerprint = OLD.fingerprint AND queue_id = OLD.queue_id), 0)
    WHERE fingerprint = OLD.fingerprint AND queue_id = OLD.queue_id;
    DELETE FROM failures
    WHERE fingerprint = OLD.fingerprint AND queue_id = OLD.queue_id AND number <= 0;
END;

CREATE TRIGGER failure_of_forgotten AFTER DELETE ON jobs
WHEN OLD.fingerprint IS NOT NULL
BEGIN
    UPDATE failures SET number = number - 1, last_at = coalesce((
        SELECT max(finished_at) FROM jobs
        WHERE fingerprint = OLD.fingerprint AND queue_id = OLD.queue_id), 0)
    WHERE fingerprint = OLD.fingerprint AND queue_id = OLD.queue_id;
    DELETE FROM failures
    WHERE fingerprint = OLD.fingerprint AND queue_id = OLD.queue_id AND number <= 0;
END;
