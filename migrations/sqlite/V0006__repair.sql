-- Expand: comparing with Terra's list of users, and getting back what an outage lost.

-- --- reconcile

-- Comparisons with Terra's own list of users.
CREATE TABLE reconcile_run (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),                      -- version 7, ordered by request
    environment  TEXT,                                                          -- Terra environment; null for all that have credentials
    reference_id TEXT,                                                          -- only users that carry this reference; null for all
    dry_run      INTEGER NOT NULL CHECK (dry_run IN (0, 1)),                    -- nothing is changed: the counts say what would be
    scheduled    INTEGER NOT NULL CHECK (scheduled IN (0, 1)),                  -- the schedule asked, not a person
    requested_at INTEGER NOT NULL,                                              -- when it was asked for, ms
    started_at   INTEGER,                                                       -- when Terra was first asked, ms
    finished_at  INTEGER,                                                       -- when it was over, ms
    state        TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'refused', 'failed')), -- refused: so many users were gone that none was revoked; failed: the list was not read to its end
    counts       TEXT NOT NULL,                                                 -- numbers of users, gaps and requests, by name, JSON
    reason       TEXT                                                           -- why it failed or was refused
) STRICT, WITHOUT ROWID;
CREATE INDEX reconcile_run_open ON reconcile_run (requested_at) WHERE state IN ('queued', 'running');

-- --- recover

-- Getting back what was lost while we could not be reached.
CREATE TABLE recovery (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),                      -- version 7, ordered by request
    environment  TEXT,                                                          -- Terra environment; null for all
    from_at      INTEGER NOT NULL,                                              -- beginning of the outage, ms
    to_at        INTEGER NOT NULL,                                              -- end of the outage, ms
    kinds        TEXT NOT NULL,                                                 -- Terra's names of kinds, comma separated; empty for all
    dry_run      INTEGER NOT NULL CHECK (dry_run IN (0, 1)),                    -- count and say what it would cost, nothing more
    actor        TEXT NOT NULL,                                                 -- who asked for it
    requested_at INTEGER NOT NULL,                                              -- when it was asked for, ms
    started_at   INTEGER,                                                       -- when Terra was first asked, ms
    finished_at  INTEGER,                                                       -- when it was over, ms
    state        TEXT NOT NULL CHECK (state IN ('queued', 'counting', 'previewed', 'resending', 'arriving', 'fetching', 'complete', 'incomplete', 'failed')), -- the step it is at; whoever takes over goes on from there
    progress     TEXT NOT NULL,                                                 -- what was found and what the step has come to, by name, JSON
    reason       TEXT                                                           -- why it failed
) STRICT, WITHOUT ROWID;
CREATE INDEX recovery_open ON recovery (requested_at) WHERE state IN ('queued', 'counting', 'resending', 'arriving', 'fetching');

-- Events that Terra could not deliver, as its log has them.
CREATE TABLE recovery_event (
    recovery_id   BLOB NOT NULL CHECK (length(recovery_id) = 16),               -- the recovery
    environment   TEXT NOT NULL,                                                -- Terra environment
    event_id      TEXT NOT NULL,                                                -- Terra's id of the event
    event_type    TEXT NOT NULL,                                                -- Terra's name of the event
    terra_user_id TEXT NOT NULL,                                                -- whose it is; empty where it is nobody's
    sent_at       INTEGER NOT NULL,                                             -- when Terra tried to deliver it, ms
    state         TEXT NOT NULL CHECK (state IN ('pending', 'resent', 'arrived', 'lost')), -- lost: Terra cannot send it again, or it did not arrive
    resent_at     INTEGER,                                                      -- when Terra was last asked to send it again, ms
    attempts      INTEGER NOT NULL CHECK (attempts >= 0),                       -- how often Terra was asked to send it again
    PRIMARY KEY (recovery_id, environment, event_id)
) STRICT, WITHOUT ROWID;

-- Requests for data that cover what could not be sent again.
CREATE TABLE recovery_job (
    recovery_id BLOB NOT NULL CHECK (length(recovery_id) = 16),                 -- the recovery
    job_id      BLOB NOT NULL CHECK (length(job_id) = 16),                      -- the fetch job
    PRIMARY KEY (recovery_id, job_id)
) STRICT, WITHOUT ROWID;
