-- What requests under an idempotency key were answered, for their repetitions. It is written with
-- what the request has done; what was refused is not here.
CREATE TABLE answers (
    seq         INTEGER PRIMARY KEY,
    key         BLOB    NOT NULL UNIQUE CHECK (length(key) = 32),
    request     BLOB    NOT NULL CHECK (length(request) = 32),
    answered_at INTEGER NOT NULL,
    answer      TEXT    NOT NULL CHECK (json_valid(answer))
) STRICT;

CREATE INDEX answers_age ON answers (answered_at);
