-- Expand: what Terra delivered, as its bill counts it.

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
