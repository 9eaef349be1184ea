-- Dead letters by their cause, what a person decided about them, and replays of the ledger.

ALTER TABLE delivery DROP CONSTRAINT delivery_outcome_check;
ALTER TABLE delivery ADD CONSTRAINT delivery_outcome_check
    CHECK (outcome IN ('processed', 'duplicate', 'set_aside', 'quarantined', 'retry', 'dead', 'discarded'));
ALTER TABLE delivery ADD COLUMN class text CHECK (class IN ('transient', 'poison', 'identity', 'contract'));
ALTER TABLE delivery ADD COLUMN fingerprint text;
ALTER TABLE delivery ADD COLUMN replay_id uuid;
ALTER TABLE delivery ADD COLUMN discarded_by text;
ALTER TABLE delivery ADD COLUMN discard_reason text;
COMMENT ON COLUMN delivery.class IS 'what sort of trouble the reason is; null where there is none';
COMMENT ON COLUMN delivery.fingerprint IS 'digest of class, reason and kind: rows with the same one have the same cause';
COMMENT ON COLUMN delivery.replay_id IS 'the last replay that worked it again';
COMMENT ON COLUMN delivery.discarded_by IS 'who decided that nobody will replay it';
COMMENT ON COLUMN delivery.discard_reason IS 'why, in the words of who decided';

CREATE TABLE replay_run (
    id           uuid PRIMARY KEY,
    selection    jsonb NOT NULL,
    state        text NOT NULL CHECK (state IN ('counting', 'previewed', 'running', 'done', 'cancelled', 'failed')),
    dry_run      boolean NOT NULL,
    actor        text NOT NULL,
    rate         integer NOT NULL CHECK (rate > 0),
    requested_at timestamptz NOT NULL,
    started_at   timestamptz,
    finished_at  timestamptz,
    position     uuid,
    progress     jsonb NOT NULL,
    reason       text
);
CREATE INDEX replay_run_open ON replay_run (requested_at) WHERE state IN ('counting', 'running');
COMMENT ON TABLE replay_run IS 'deliveries of the ledger that are worked again: what was chosen, by whom, and how far it is';
COMMENT ON COLUMN replay_run.id IS 'version 7, ordered by request';
COMMENT ON COLUMN replay_run.selection IS 'which deliveries, by name of the filter';
COMMENT ON COLUMN replay_run.state IS 'failed: the first delivery failed again, no other was touched';
COMMENT ON COLUMN replay_run.dry_run IS 'stop after counting, until somebody starts it';
COMMENT ON COLUMN replay_run.actor IS 'who asked for it';
COMMENT ON COLUMN replay_run.rate IS 'deliveries a second at most';
COMMENT ON COLUMN replay_run.requested_at IS 'when it was asked for; only what was received before is chosen';
COMMENT ON COLUMN replay_run.started_at IS 'when the first delivery was worked';
COMMENT ON COLUMN replay_run.finished_at IS 'when it was over';
COMMENT ON COLUMN replay_run.position IS 'the last delivery that was counted';
COMMENT ON COLUMN replay_run.progress IS 'what was found and what became of it, by name';
COMMENT ON COLUMN replay_run.reason IS 'why it failed';

CREATE TABLE replay_item (
    run_id      uuid NOT NULL,
    delivery_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    predicted   text NOT NULL CHECK (predicted IN ('change', 'nothing', 'kept', 'fail')),
    state       text NOT NULL CHECK (state IN ('pending', 'changed', 'unchanged', 'kept', 'failed', 'gone')),
    reason      text,
    PRIMARY KEY (run_id, delivery_id)
);
CREATE INDEX replay_item_state ON replay_item (run_id, state, delivery_id);
COMMENT ON TABLE replay_item IS 'the deliveries of a replay; what became of one is written in the transaction of its effects';
COMMENT ON COLUMN replay_item.run_id IS 'the replay';
COMMENT ON COLUMN replay_item.delivery_id IS 'the delivery';
COMMENT ON COLUMN replay_item.received_at IS 'when the delivery was received, the other part of its key';
COMMENT ON COLUMN replay_item.predicted IS 'what a look at it before said that replaying would do';
COMMENT ON COLUMN replay_item.state IS 'gone: past the retention before its turn came';
COMMENT ON COLUMN replay_item.reason IS 'why it failed';
