-- What alerts are made from. A notice of an ending is written with the ending itself, so that
-- neither a crash nor a full disk comes between a failure and its alert. Empty while lq.toml has
-- no [[alerts]].

CREATE TABLE notices (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT    NOT NULL CHECK (json_valid(body))
) STRICT;

-- How each subject stands with each rule, where it does not stand well.
CREATE TABLE standings (
    alert   TEXT NOT NULL,
    subject TEXT NOT NULL,
    body    TEXT NOT NULL CHECK (json_valid(body)),
    PRIMARY KEY (alert, subject)
) STRICT, WITHOUT ROWID;

-- What is to be told, and has not become part of a message yet: of each kind and subject the last
-- one, with how many there were.
CREATE TABLE alert_lines (
    alert   TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind    TEXT NOT NULL,
    body    TEXT NOT NULL CHECK (json_valid(body)),
    PRIMARY KEY (alert, subject, kind)
) STRICT, WITHOUT ROWID;

-- When the last message of each rule was made.
CREATE TABLE alert_messages (
    alert TEXT    PRIMARY KEY,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
