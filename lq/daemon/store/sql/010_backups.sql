-- A database that is a copy says of when; one that was put back may wait to be let go.

-- One row in a backup, none in a database that serves.
CREATE TABLE backup (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    made_at INTEGER NOT NULL,
    version TEXT    NOT NULL
) STRICT;

-- One row while nothing may start: a restore has asked for it.
CREATE TABLE hold (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    since     INTEGER NOT NULL,
    backup_at INTEGER NOT NULL
) STRICT;
