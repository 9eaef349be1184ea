-- Expand: what Terra delivered, as its bill counts it, and in which rhythm.

-- --- usage

CREATE TABLE usage (
    environment   text NOT NULL,
    terra_user_id text NOT NULL,
    kind          text NOT NULL,
    month         date NOT NULL,
    origin        text NOT NULL CHECK (origin IN ('live', 'ours')),
    deliveries    bigint NOT NULL CHECK (deliveries >= 0),
    unchanged     bigint NOT NULL CHECK (unchanged >= 0),
    duplicates    bigint NOT NULL CHECK (duplicates >= 0),
    bytes         bigint NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (environment, terra_user_id, kind, month, origin)
);
ALTER TABLE usage SET (fillfactor = 80); -- every batch updates some rows in place
CREATE INDEX usage_month ON usage (month);
COMMENT ON TABLE usage IS 'deliveries per Terra user, kind, month and origin; written with the effects of each delivery';
COMMENT ON COLUMN usage.environment IS 'Terra environment (dev id) as named in the settings';
COMMENT ON COLUMN usage.terra_user_id IS 'the alias that the deliveries name; empty where they name nobody';
COMMENT ON COLUMN usage.kind IS 'Terra''s name of the event, or other';
COMMENT ON COLUMN usage.month IS 'first day of the month (UTC) in which they were received';
COMMENT ON COLUMN usage.origin IS 'live: nobody asked; ours: answers to requests of ours';
COMMENT ON COLUMN usage.deliveries IS 'events: each once, however often it was delivered';
COMMENT ON COLUMN usage.unchanged IS 'of these: data that changed no record';
COMMENT ON COLUMN usage.duplicates IS 'further deliveries of events that were processed before';
COMMENT ON COLUMN usage.bytes IS 'bytes of all bodies as received, duplicates included';

-- --- silence

CREATE TABLE cadence (
    environment   text NOT NULL,
    terra_user_id text NOT NULL,
    kind          text NOT NULL,
    provider      text NOT NULL,
    first_at      timestamptz NOT NULL,
    last_at       timestamptz NOT NULL,
    longest_ms    bigint NOT NULL CHECK (longest_ms >= 0),
    deliveries    bigint NOT NULL CHECK (deliveries >= 1),
    due_at        timestamptz,
    PRIMARY KEY (environment, terra_user_id, kind)
);
ALTER TABLE cadence SET (fillfactor = 80); -- every live delivery of data updates one in place
CREATE INDEX cadence_due ON cadence (due_at) WHERE due_at IS NOT NULL;
COMMENT ON TABLE cadence IS 'the rhythm of one alias and kind, learned from deliveries nobody asked for';
COMMENT ON COLUMN cadence.environment IS 'Terra environment';
COMMENT ON COLUMN cadence.terra_user_id IS 'the alias';
COMMENT ON COLUMN cadence.kind IS 'Terra''s name of the kind of data';
COMMENT ON COLUMN cadence.provider IS 'as Terra spells it; empty where it is not known';
COMMENT ON COLUMN cadence.first_at IS 'when the first delivery was received';
COMMENT ON COLUMN cadence.last_at IS 'when the last delivery was received';
COMMENT ON COLUMN cadence.longest_ms IS 'the longest pause lately, ms; half of it is forgotten every 30 days';
COMMENT ON COLUMN cadence.deliveries IS 'deliveries heard';
COMMENT ON COLUMN cadence.due_at IS 'when it will have been quiet for too long; null while too little is known';

CREATE TABLE silence_watch (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    since      timestamptz NOT NULL,
    checked_at timestamptz NOT NULL
);
COMMENT ON TABLE silence_watch IS 'since when somebody has been listening: before that, quiet proves nothing';
COMMENT ON COLUMN silence_watch.since IS 'when the watch without a break began';
COMMENT ON COLUMN silence_watch.checked_at IS 'the last look';

CREATE TABLE provider_silence (
    environment   text NOT NULL,
    provider      text NOT NULL,
    kind          text NOT NULL,
    watched_since timestamptz NOT NULL,
    checked_at    timestamptz NOT NULL,
    heard_at      timestamptz NOT NULL,
    longest_ms    bigint NOT NULL CHECK (longest_ms >= 0),
    silent_since  timestamptz,
    users         bigint CHECK (users >= 0),
    PRIMARY KEY (environment, provider, kind)
);
COMMENT ON TABLE provider_silence IS 'one kind of one provider: the pauses its connections leave among them, and the verdict';
COMMENT ON COLUMN provider_silence.environment IS 'Terra environment';
COMMENT ON COLUMN provider_silence.provider IS 'as Terra spells it';
COMMENT ON COLUMN provider_silence.kind IS 'Terra''s name of the kind of data';
COMMENT ON COLUMN provider_silence.watched_since IS 'when its pauses were first looked at';
COMMENT ON COLUMN provider_silence.checked_at IS 'the last look';
COMMENT ON COLUMN provider_silence.heard_at IS 'the last delivery that the last look found';
COMMENT ON COLUMN provider_silence.longest_ms IS 'the longest pause of all its connections together, lately, ms';
COMMENT ON COLUMN provider_silence.silent_since IS 'the last delivery before the silence; null while it is not silent';
COMMENT ON COLUMN provider_silence.users IS 'connections that delivered this kind before the silence';

CREATE TABLE connection_silence (
    connection_id uuid PRIMARY KEY,
    environment   text NOT NULL,
    provider      text,
    last_at       timestamptz NOT NULL,
    bound_ms      bigint NOT NULL CHECK (bound_ms >= 0),
    told_at       timestamptz NOT NULL
);
COMMENT ON TABLE connection_silence IS 'connections that are quiet for longer than their own rhythm explains while their provider delivers';
COMMENT ON COLUMN connection_silence.connection_id IS 'the connection';
COMMENT ON COLUMN connection_silence.environment IS 'Terra environment';
COMMENT ON COLUMN connection_silence.provider IS 'as Terra spells it';
COMMENT ON COLUMN connection_silence.last_at IS 'its last delivery of any kind';
COMMENT ON COLUMN connection_silence.bound_ms IS 'how long its rhythm lets it be quiet, ms';
COMMENT ON COLUMN connection_silence.told_at IS 'when it was found to be stale';
