-- Dead letters by their cause, what a person decided about them, and replays of the ledger.

-- A CHECK cannot be changed in place: the ledger is written anew with one outcome and five columns more.
ALTER TABLE delivery RENAME TO delivery_before;
CREATE TABLE delivery (
    id             BLOB PRIMARY KEY CHECK (length(id) = 16),                    -- version 7, ordered by receipt
    received_at    INTEGER NOT NULL,                                            -- ms
    environment    TEXT NOT NULL,                                               -- Terra environment
    trace_id       TEXT,                                                        -- X-Terra-Trace-Id
    reference      TEXT,                                                        -- terra-reference
    type_name      TEXT,                                                        -- Terra's name of the event, as sent
    terra_user_id  TEXT,                                                        -- the alias it names
    delivery_order BLOB NOT NULL CHECK (length(delivery_order) = 16),           -- fixed at receipt
    size_bytes     INTEGER NOT NULL,                                            -- of the body as received
    body_digest    BLOB NOT NULL CHECK (length(body_digest) = 32),              -- SHA-256 of the body
    late           INTEGER NOT NULL CHECK (late IN (0, 1)),                     -- genuine, but outside the time window
    metadata       TEXT NOT NULL,                                               -- the delivery as the receiver described it, JSON
    body           BLOB NOT NULL,                                               -- the sealed bytes, or the pointer to them
    outcome        TEXT NOT NULL CHECK (outcome IN ('processed', 'duplicate', 'set_aside', 'quarantined', 'retry', 'dead', 'discarded')),
    reason         TEXT,                                                        -- why it was set aside, quarantined or failed
    attempts       INTEGER NOT NULL,                                            -- tries so far
    retry_at       INTEGER,                                                     -- due again, ms
    locked_until   INTEGER,                                                     -- held by a worker until then, ms
    row_count      INTEGER NOT NULL,                                            -- records inserted, changed or deleted
    settled_at     INTEGER NOT NULL,                                            -- when the outcome was written, ms
    unread         TEXT,                                                        -- JSON: what of the payload could not be read, by place and path, without values; the rest was applied
    class          TEXT CHECK (class IN ('transient', 'poison', 'identity', 'contract')), -- what sort of trouble the reason is; null where there is none
    fingerprint    TEXT,                                                        -- digest of class, reason and kind: rows with the same one have the same cause
    replay_id      BLOB CHECK (length(replay_id) = 16),                         -- the last replay that worked it again
    discarded_by   TEXT,                                                        -- who decided that nobody will replay it
    discard_reason TEXT                                                         -- why, in the words of who decided
) STRICT;
INSERT INTO delivery (id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order, size_bytes,
                      body_digest, late, metadata, body, outcome, reason, attempts, retry_at, locked_until, row_count,
                      settled_at, unread)
SELECT id, received_at, environment, trace_id, reference, type_name, terra_user_id, delivery_order, size_bytes,
       body_digest, late, metadata, body, outcome, reason, attempts, retry_at, locked_until, row_count, settled_at,
       unread
  FROM delivery_before;
DROP TABLE delivery_before;
CREATE INDEX delivery_age ON delivery (received_at);
CREATE INDEX delivery_open ON delivery (retry_at) WHERE outcome = 'retry';
CREATE INDEX delivery_dead ON delivery (id) WHERE outcome = 'dead';
CREATE INDEX delivery_trace ON delivery (trace_id);
CREATE INDEX delivery_alias ON delivery (terra_user_id, id);

-- Deliveries of the ledger that are worked again: what was chosen, by whom, and how far it is.
CREATE TABLE replay_run (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),                      -- version 7, ordered by request
    selection    TEXT NOT NULL,                                                 -- which deliveries, by name of the filter, JSON
    state        TEXT NOT NULL CHECK (state IN ('counting', 'previewed', 'running', 'done', 'cancelled', 'failed')), -- failed: the first delivery failed again, no other was touched
    dry_run      INTEGER NOT NULL CHECK (dry_run IN (0, 1)),                    -- stop after counting, until somebody starts it
    actor        TEXT NOT NULL,                                                 -- who asked for it
    rate         INTEGER NOT NULL CHECK (rate > 0),                             -- deliveries a second at most
    requested_at INTEGER NOT NULL,                                              -- when it was asked for, ms; only what was received before is chosen
    started_at   INTEGER,                                                       -- when the first delivery was worked, ms
    finished_at  INTEGER,                                                       -- when it was over, ms
    position     BLOB CHECK (length(position) = 16),                            -- the last delivery that was counted
    progress     TEXT NOT NULL,                                                 -- what was found and what became of it, by name, JSON
    reason       TEXT                                                           -- why it failed
) STRICT, WITHOUT ROWID;
CREATE INDEX replay_run_open ON replay_run (requested_at) WHERE state IN ('counting', 'running');

-- The deliveries of a replay; what became of one is written in the transaction of its effects.
CREATE TABLE replay_item (
    run_id      BLOB NOT NULL CHECK (length(run_id) = 16),                      -- the replay
    delivery_id BLOB NOT NULL CHECK (length(delivery_id) = 16),                 -- the delivery
    received_at INTEGER NOT NULL,                                               -- when the delivery was received, ms
    predicted   TEXT NOT NULL CHECK (predicted IN ('change', 'nothing', 'kept', 'fail')), -- what a look at it before said that replaying would do
    state       TEXT NOT NULL CHECK (state IN ('pending', 'changed', 'unchanged', 'kept', 'failed', 'gone')), -- gone: past the retention before its turn came
    reason      TEXT,                                                           -- why it failed
    PRIMARY KEY (run_id, delivery_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX replay_item_state ON replay_item (run_id, state, delivery_id);
