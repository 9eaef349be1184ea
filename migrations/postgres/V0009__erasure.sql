-- Expand: the end of a person's data: erasures, the tombstones they leave, and payloads that nothing needs any more.

CREATE TABLE erasure (
    id           uuid PRIMARY KEY,
    scope        text NOT NULL CHECK (scope IN ('user', 'connection')),
    cause        text NOT NULL CHECK (cause IN ('request', 'deauth')),
    actor        text NOT NULL,
    requested_at timestamptz NOT NULL,
    erased_at    timestamptz,
    finished_at  timestamptz,
    look_at      timestamptz NOT NULL,
    state        text NOT NULL CHECK (state IN ('erasing', 'telling', 'done')),
    progress     jsonb NOT NULL,
    reason       text,
    event_id     uuid NOT NULL
);
CREATE INDEX erasure_open ON erasure (look_at) WHERE state <> 'done';
COMMENT ON TABLE erasure IS 'erasures of people, and how far each is; names nobody';
COMMENT ON COLUMN erasure.id IS 'version 7, ordered by request';
COMMENT ON COLUMN erasure.scope IS 'user: everything of a person; connection: one connection that was closed';
COMMENT ON COLUMN erasure.cause IS 'request: somebody asked for it; deauth: the settings ask for it';
COMMENT ON COLUMN erasure.actor IS 'who asked for it';
COMMENT ON COLUMN erasure.requested_at IS 'when it was asked for; nothing that Terra sent before then is taken any more';
COMMENT ON COLUMN erasure.erased_at IS 'when the last row was gone';
COMMENT ON COLUMN erasure.finished_at IS 'when Terra had agreed as well';
COMMENT ON COLUMN erasure.look_at IS 'due to go on';
COMMENT ON COLUMN erasure.state IS 'erasing: rows are being deleted; telling: Terra has not agreed yet';
COMMENT ON COLUMN erasure.progress IS 'what was erased, as numbers, and how far the search through deliveries is';
COMMENT ON COLUMN erasure.reason IS 'why Terra has not agreed yet';
COMMENT ON COLUMN erasure.event_id IS 'the event that tells the company''s services; its subject goes after 30 days';

CREATE TABLE erasure_target (
    erasure_id  uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('alias', 'reference', 'user', 'connection', 'partner')),
    environment text NOT NULL,
    name        text NOT NULL,
    is_erased   boolean NOT NULL,
    is_told     boolean NOT NULL,
    PRIMARY KEY (erasure_id, kind, environment, name)
);
COMMENT ON TABLE erasure_target IS 'whom an erasure under way is about: the only place that still names them, empty once it is done';
COMMENT ON COLUMN erasure_target.erasure_id IS 'the erasure';
COMMENT ON COLUMN erasure_target.kind IS 'what the name is: a Terra user id, a reference, an internal user, a connection, or the Terra user id of somebody else whose history names an erased one';
COMMENT ON COLUMN erasure_target.environment IS 'Terra environment; empty for a user and a connection';
COMMENT ON COLUMN erasure_target.name IS 'the name itself';
COMMENT ON COLUMN erasure_target.is_erased IS 'nothing of it is left';
COMMENT ON COLUMN erasure_target.is_told IS 'Terra agreed, knows nobody by this name, or need not be told';

CREATE TABLE tombstone (
    digest     bytea PRIMARY KEY CHECK (length(digest) = 32),
    erasure_id uuid NOT NULL,
    erased     bytea NOT NULL CHECK (length(erased) = 16),
    reopened   bytea CHECK (length(reopened) = 16)
);
COMMENT ON TABLE tombstone IS 'who was erased: what comes of them later is dropped. For good';
COMMENT ON COLUMN tombstone.digest IS 'SHA-256 of environment and Terra user id, or of environment and reference';
COMMENT ON COLUMN tombstone.erasure_id IS 'the erasure that left it';
COMMENT ON COLUMN tombstone.erased IS 'order of the erasure';
COMMENT ON COLUMN tombstone.reopened IS 'order of the connect with which the person came back; null while they did not';

CREATE TABLE unneeded_payload (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text,
    record_id uuid,
    pointer   bytea NOT NULL
);
COMMENT ON TABLE unneeded_payload IS 'objects of the payload store that go, once the transaction that let go of them is committed';
COMMENT ON COLUMN unneeded_payload.kind IS 'of the record whose document it was or was to be: the object stays if that record points to it; null for a delivery''s';
COMMENT ON COLUMN unneeded_payload.record_id IS 'that record';
COMMENT ON COLUMN unneeded_payload.pointer IS 'the sealed pointer';

ALTER TABLE delivery DROP CONSTRAINT delivery_outcome_check;
ALTER TABLE delivery ADD CONSTRAINT delivery_outcome_check
    CHECK (outcome IN ('processed', 'duplicate', 'set_aside', 'quarantined', 'erased', 'retry', 'dead', 'discarded'));

-- What an erasure looks for.
CREATE INDEX delivery_nameless ON delivery (id) WHERE terra_user_id IS NULL AND outcome <> 'erased';
CREATE INDEX event_alias ON event (environment, terra_user_id);
CREATE INDEX event_nameless ON event (sequence) WHERE terra_user_id IS NULL;
CREATE INDEX auth_event_reference ON auth_event (environment, reference_id);
CREATE INDEX recovery_event_alias ON recovery_event (environment, terra_user_id);
CREATE INDEX alias_closed ON alias (closed) WHERE closed IS NOT NULL;
