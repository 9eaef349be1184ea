-- Deliveries of a replay: what each was when it was chosen, its place in line, and what a person decided meanwhile.

ALTER TABLE replay_item DROP CONSTRAINT replay_item_predicted_check;
ALTER TABLE replay_item ADD CONSTRAINT replay_item_predicted_check
    CHECK (predicted IN ('change', 'nothing', 'kept', 'fail', 'unknown'));
ALTER TABLE replay_item DROP CONSTRAINT replay_item_state_check;
ALTER TABLE replay_item ADD CONSTRAINT replay_item_state_check
    CHECK (state IN ('pending', 'changed', 'unchanged', 'kept', 'failed', 'gone', 'discarded'));
ALTER TABLE replay_item ADD COLUMN chosen_as text;
ALTER TABLE replay_item ADD COLUMN place integer NOT NULL DEFAULT 0 CHECK (place >= 0);
UPDATE replay_item SET chosen_as = 'discarded'
  FROM replay_run
 WHERE replay_run.id = replay_item.run_id AND replay_run.selection ->> 'outcome' = 'discarded';
DROP INDEX replay_item_state;
CREATE INDEX replay_item_state ON replay_item (run_id, state, place, delivery_id);
COMMENT ON COLUMN replay_item.predicted IS 'what a look at it before said that replaying would do; unknown: it has ended a process, and nobody looked';
COMMENT ON COLUMN replay_item.state IS 'gone: past the retention before its turn came; discarded: by a person, before its turn came';
COMMENT ON COLUMN replay_item.chosen_as IS 'its outcome in the ledger when it was chosen; null in runs that were begun before this was kept';
COMMENT ON COLUMN replay_item.place IS 'the lowest goes first: 1 where it is likely to fail, and 2 more each time it failed in this run';
COMMENT ON COLUMN replay_run.state IS 'failed: those that were tried first failed again, no other was touched';
COMMENT ON COLUMN replay_run.requested_at IS 'when it was asked for';
