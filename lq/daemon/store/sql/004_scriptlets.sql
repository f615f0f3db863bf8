-- What a run of a scriptlet has written on both of its streams, where that is more than its result.
ALTER TABLE runs ADD COLUMN log BLOB;

-- Which process a run is: written before it runs anything, so that the next daemon can end it.
CREATE TABLE processes (
    run_id  INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    pid     INTEGER NOT NULL CHECK (pid > 0),
    -- In clock ticks since the boot that `boot` names.
    started INTEGER NOT NULL,
    boot    TEXT    NOT NULL
) STRICT;
