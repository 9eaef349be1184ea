-- Deliveries of a replay: what each was when it was chosen, its place in line, and what a person decided meanwhile.

-- A CHECK cannot be changed in place.
ALTER TABLE replay_item RENAME TO replay_item_before;
CREATE TABLE replay_item (
    run_id      BLOB NOT NULL CHECK (length(run_id) = 16),                      -- the replay
    delivery_id BLOB NOT NULL CHECK (length(delivery_id) = 16),                 -- the delivery
    received_at INTEGER NOT NULL,                                               -- when the delivery was received, ms
    predicted   TEXT NOT NULL CHECK (predicted IN ('change', 'nothing', 'kept', 'fail', 'unknown')), -- what a look at it before said that replaying would do; unknown: it has ended a process, and nobody looked
    state       TEXT NOT NULL CHECK (state IN ('pending', 'changed', 'unchanged', 'kept', 'failed', 'gone', 'discarded')), -- gone: past the retention before its turn came; discarded: by a person, before its turn came
    reason      TEXT,                                                           -- why it failed
    chosen_as   TEXT,                                                           -- its outcome in the ledger when it was chosen; null in runs that were begun before this was kept
    place       INTEGER NOT NULL DEFAULT 0 CHECK (place >= 0),                  -- the lowest goes first: 1 where it is likely to fail, and 2 more each time it failed in this run
    PRIMARY KEY (run_id, delivery_id)
) STRICT, WITHOUT ROWID;
INSERT INTO replay_item (run_id, delivery_id, received_at, predicted, state, reason, chosen_as)
SELECT replay_item_before.run_id, replay_item_before.delivery_id, replay_item_before.received_at,
       replay_item_before.predicted, replay_item_before.state, replay_item_before.reason,
       CASE WHEN replay_run.selection ->> 'outcome' = 'discarded' THEN 'discarded' END
  FROM replay_item_before LEFT JOIN replay_run ON replay_run.id = replay_item_before.run_id;
DROP TABLE replay_item_before;
CREATE INDEX replay_item_state ON replay_item (run_id, state, place, delivery_id);
