-- Expand: what Terra delivered, as its bill counts it.

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
