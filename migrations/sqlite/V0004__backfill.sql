-- Expand: why a job was made and for which wish, whose turn it is, what was spent, what rests, and what came of what
-- was asked for. A binary made for an earlier level leaves new columns to their defaults.

-- why it was made
ALTER TABLE fetch_job ADD COLUMN origin TEXT NOT NULL DEFAULT 'connect' CHECK (origin IN ('request', 'order', 'missing', 'connect', 'recover', 'reconcile'));
-- smaller goes first; 0 is what somebody waits for
ALTER TABLE fetch_job ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
-- the wish it was made for; nil where it is older than wishes are
ALTER TABLE fetch_job ADD COLUMN backfill_id BLOB NOT NULL DEFAULT x'00000000000000000000000000000000' CHECK (length(backfill_id) = 16);
-- the job that asks for its days instead; its own state is nothing
ALTER TABLE fetch_job ADD COLUMN merged_into BLOB CHECK (length(merged_into) = 16);
-- of an answer that held the data itself
ALTER TABLE fetch_job ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX fetch_job_turn ON fetch_job (environment, terra_user_id, priority, window_start) WHERE state = 'queued';
CREATE INDEX fetch_job_closed ON fetch_job (updated_at) WHERE state <> 'queued';

-- Whose turn it is to fetch: a row for each alias and priority with queued jobs.
CREATE TABLE fetch_turn (
    environment   TEXT NOT NULL,                                                -- Terra environment
    terra_user_id TEXT NOT NULL,                                                -- the alias
    priority      INTEGER NOT NULL,                                             -- as in fetch_job
    provider      TEXT,                                                         -- in capitals
    due_at        INTEGER NOT NULL,                                             -- nothing of it can go out before then, ms
    served_at     INTEGER NOT NULL,                                             -- its last turn; before that, when it was first queued, ms
    PRIMARY KEY (environment, terra_user_id, priority)
) STRICT;
CREATE INDEX fetch_turn_order ON fetch_turn (priority, served_at);
INSERT INTO fetch_turn (environment, terra_user_id, priority, provider, due_at, served_at)
SELECT environment, terra_user_id, priority, upper(max(provider)), 0, min(run_at)
  FROM fetch_job
 WHERE state = 'queued'
 GROUP BY environment, terra_user_id, priority;

-- Days asked of Terra, for its rolling hour.
CREATE TABLE fetch_spend (
    fetch_job_id  BLOB NOT NULL CHECK (length(fetch_job_id) = 16),              -- the job
    lease_token   INTEGER NOT NULL,                                             -- which try
    environment   TEXT NOT NULL,                                                -- Terra environment
    terra_user_id TEXT NOT NULL,                                                -- the alias
    days          INTEGER NOT NULL CHECK (days > 0),                            -- asked for
    spent_at      INTEGER NOT NULL,                                             -- when it was answered; before that, the end of the lease, ms
    PRIMARY KEY (fetch_job_id, lease_token)
) STRICT;
CREATE INDEX fetch_spend_alias ON fetch_spend (environment, terra_user_id, spent_at);
CREATE INDEX fetch_spend_age ON fetch_spend (spent_at);

-- What rests until when; holds jobs that are queued later as well.
CREATE TABLE fetch_pause (
    environment TEXT NOT NULL,                                                  -- Terra environment
    scope       TEXT NOT NULL CHECK (scope IN ('environment', 'provider', 'alias')), -- for whom
    subject     TEXT NOT NULL,                                                  -- provider in capitals, or Terra user id; empty for an environment
    until       INTEGER NOT NULL,                                               -- ms
    reason      TEXT NOT NULL,                                                  -- why
    failures    INTEGER NOT NULL DEFAULT 0,                                     -- failures in a row; 0 where it does not come of failures
    last        TEXT NOT NULL DEFAULT '',                                       -- Terra user id of the last failure
    PRIMARY KEY (environment, scope, subject)
) STRICT;

-- One wish for data of one alias, and what came of it when it was last looked at.
CREATE TABLE backfill (
    id            BLOB PRIMARY KEY CHECK (length(id) = 16),                     -- derived from what caused it
    environment   TEXT NOT NULL,                                                -- Terra environment
    terra_user_id TEXT NOT NULL,                                                -- the alias
    provider      TEXT,                                                         -- as Terra spells it
    origin        TEXT NOT NULL CHECK (origin IN ('request', 'order', 'missing', 'connect', 'recover', 'reconcile', 'terra')), -- why; terra where Terra announced a large request that we did not make
    reference     TEXT,                                                         -- Terra's name of the request, for origin terra alone
    kinds         TEXT NOT NULL,                                                -- comma separated
    window_start  TEXT,                                                         -- date, inclusive
    window_end    TEXT,                                                         -- exclusive; both null where the days are not known
    state         TEXT NOT NULL CHECK (state IN ('open', 'complete', 'incomplete')), -- open until all came, or until nobody asks any more
    reason        TEXT,                                                         -- why
    requested     INTEGER NOT NULL DEFAULT 0,                                   -- requests it takes
    expected      INTEGER NOT NULL DEFAULT 0,                                   -- payloads: as announced, else one a request
    received      INTEGER NOT NULL DEFAULT 0,                                   -- payloads that came
    size_bytes    INTEGER NOT NULL DEFAULT 0,                                   -- of what came
    created_at    INTEGER NOT NULL,                                             -- ms
    progressed_at INTEGER NOT NULL,                                             -- when something last came, ms
    look_at       INTEGER NOT NULL,                                             -- due to be looked at; moved ahead when something of it came, ms
    stalled_since INTEGER,                                                      -- when something last came of a request that then stalled, ms
    settled_at    INTEGER                                                       -- ms
) STRICT;
CREATE INDEX backfill_look ON backfill (look_at) WHERE state = 'open';
CREATE INDEX backfill_alias ON backfill (environment, terra_user_id);
CREATE INDEX backfill_reference ON backfill (environment, reference);

-- Which jobs a wish leans on; one job may serve several.
CREATE TABLE backfill_fetch (
    backfill_id  BLOB NOT NULL CHECK (length(backfill_id) = 16),                -- the wish
    fetch_job_id BLOB NOT NULL CHECK (length(fetch_job_id) = 16),               -- the job
    gap_of       BLOB NOT NULL DEFAULT x'00000000000000000000000000000000' CHECK (length(gap_of) = 16), -- the job of which this one asks for a missing part; nil for none
    round        INTEGER NOT NULL DEFAULT 0,                                    -- how often that was asked for again
    PRIMARY KEY (backfill_id, fetch_job_id, gap_of)
) STRICT;
CREATE INDEX backfill_fetch_job ON backfill_fetch (fetch_job_id);

-- Large requests that Terra announced, ours or not.
CREATE TABLE fetch_request (
    environment   TEXT NOT NULL,                                                -- Terra environment
    reference     TEXT NOT NULL,                                                -- Terra's name of the request
    terra_user_id TEXT,                                                         -- the alias
    provider      TEXT,                                                         -- as Terra spells it
    expected      INTEGER,                                                      -- payloads to come; null while Terra is still at it
    announced_at  INTEGER NOT NULL,                                             -- first announcement, ms
    tracked       INTEGER NOT NULL DEFAULT 0,                                   -- known to belong to a job of ours, or has a backfill of its own
    PRIMARY KEY (environment, reference)
) STRICT;
CREATE INDEX fetch_request_untracked ON fetch_request (announced_at) WHERE NOT tracked;

-- Data that came under Terra's reference of a request, whether or not we know it.
CREATE TABLE fetch_chunk (
    environment TEXT NOT NULL,                                                  -- Terra environment
    reference   TEXT NOT NULL,                                                  -- Terra's name of the request
    dedupe_key  TEXT NOT NULL,                                                  -- of its delivery, so that a duplicate is the same row
    number      INTEGER,                                                        -- as its trace id has it
    items       INTEGER NOT NULL,                                               -- records in it
    size_bytes  INTEGER NOT NULL,                                               -- of what came
    first_day   TEXT,                                                           -- earliest start of a record in it, as dated by Terra
    last_day    TEXT,                                                           -- latest start of a record in it, date
    received_at INTEGER NOT NULL,                                               -- ms
    PRIMARY KEY (environment, reference, dedupe_key)
) STRICT;
CREATE INDEX fetch_chunk_age ON fetch_chunk (received_at);
