-- Expand: what Terra delivered, as its bill counts it, and in which rhythm.

-- --- usage

-- Deliveries per Terra user, kind, month and origin; written with the effects of each delivery.
CREATE TABLE usage (
    environment   TEXT NOT NULL,                                                -- Terra environment (dev id) as named in the settings
    terra_user_id TEXT NOT NULL,                                                -- the alias that the deliveries name; empty where they name nobody
    kind          TEXT NOT NULL,                                                -- Terra's name of the event, or other
    month         TEXT NOT NULL,                                                -- first day of the month (UTC) in which they were received, date
    origin        TEXT NOT NULL CHECK (origin IN ('live', 'ours')),             -- live: nobody asked; ours: answers to requests of ours
    deliveries    INTEGER NOT NULL CHECK (deliveries >= 0),                     -- events: each once, however often it was delivered
    unchanged     INTEGER NOT NULL CHECK (unchanged >= 0),                      -- of these: data that changed no record
    duplicates    INTEGER NOT NULL CHECK (duplicates >= 0),                     -- further deliveries of events that were processed before
    bytes         INTEGER NOT NULL CHECK (bytes >= 0),                          -- of all bodies as received, duplicates included
    PRIMARY KEY (environment, terra_user_id, kind, month, origin)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_month ON usage (month);

-- --- silence

-- The rhythm of one alias and kind, learned from deliveries nobody asked for.
CREATE TABLE cadence (
    environment   TEXT NOT NULL,                                                -- Terra environment
    terra_user_id TEXT NOT NULL,                                                -- the alias
    kind          TEXT NOT NULL,                                                -- Terra's name of the kind of data
    provider      TEXT NOT NULL,                                                -- as Terra spells it; empty where it is not known
    first_at      INTEGER NOT NULL,                                             -- when the first delivery was received, ms
    last_at       INTEGER NOT NULL,                                             -- when the last delivery was received, ms
    longest_ms    INTEGER NOT NULL CHECK (longest_ms >= 0),                     -- the longest pause lately, ms; half of it is forgotten every 30 days
    deliveries    INTEGER NOT NULL CHECK (deliveries >= 1),                     -- deliveries heard
    due_at        INTEGER,                                                      -- when it will have been quiet for too long, ms; null while too little is known
    PRIMARY KEY (environment, terra_user_id, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX cadence_due ON cadence (due_at) WHERE due_at IS NOT NULL;

-- Since when somebody has been listening: before that, quiet proves nothing.
CREATE TABLE silence_watch (
    only_row   INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    since      INTEGER NOT NULL,                                                -- when the watch without a break began, ms
    checked_at INTEGER NOT NULL                                                 -- the last look, ms
) STRICT;

-- One kind of one provider: the pauses its connections leave among them, and the verdict.
CREATE TABLE provider_silence (
    environment   TEXT NOT NULL,                                                -- Terra environment
    provider      TEXT NOT NULL,                                                -- as Terra spells it
    kind          TEXT NOT NULL,                                                -- Terra's name of the kind of data
    watched_since INTEGER NOT NULL,                                             -- when its pauses were first looked at, ms
    checked_at    INTEGER NOT NULL,                                             -- the last look, ms
    heard_at      INTEGER NOT NULL,                                             -- the last delivery that the last look found, ms
    longest_ms    INTEGER NOT NULL CHECK (longest_ms >= 0),                     -- the longest pause of all its connections together, lately, ms
    silent_since  INTEGER,                                                      -- the last delivery before the silence, ms; null while it is not silent
    users         INTEGER CHECK (users >= 0),                                   -- connections that delivered this kind before the silence
    PRIMARY KEY (environment, provider, kind)
) STRICT, WITHOUT ROWID;

-- Connections that are quiet for longer than their own rhythm explains while their provider delivers.
CREATE TABLE connection_silence (
    connection_id BLOB PRIMARY KEY CHECK (length(connection_id) = 16),          -- the connection
    environment   TEXT NOT NULL,                                                -- Terra environment
    provider      TEXT,                                                         -- as Terra spells it
    last_at       INTEGER NOT NULL,                                             -- its last delivery of any kind, ms
    bound_ms      INTEGER NOT NULL CHECK (bound_ms >= 0),                       -- how long its rhythm lets it be quiet, ms
    told_at       INTEGER NOT NULL                                              -- when it was found to be stale, ms
) STRICT, WITHOUT ROWID;
