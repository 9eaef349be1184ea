-- Facts, records, ledger, jobs, the event log and the queue: one file, the same tables and columns as in PostgreSQL.
--
-- How types are written here:
--   an order    BLOB of 16 bytes: 8 of milliseconds since the Unix epoch (big-endian), then 8 of the body's SHA-256;
--               comparing the bytes compares the orders
--   a uuid      BLOB of 16 bytes
--   a time      INTEGER, milliseconds since the Unix epoch, UTC
--   a date      TEXT, YYYY-MM-DD
--   a boolean   INTEGER, 0 or 1
--   a list      TEXT, JSON

CREATE TABLE schema_level (
    only_row      INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    readable_from INTEGER NOT NULL  -- oldest schema level a binary may be made for and still work with this schema
) STRICT;
INSERT INTO schema_level (readable_from) VALUES (1);

-- --- queue

-- Deliveries between receipt and work. Who holds which is known in memory only: the process that has this file open
-- holds all of it, and when it ends, every lease ends with it.
CREATE TABLE queue_job (
    id          INTEGER PRIMARY KEY,                                            -- in the order of publishing; never used twice while the process lives
    lane        TEXT NOT NULL CHECK (lane IN ('auth', 'urgent', 'live', 'bulk')),
    enqueued_ms INTEGER NOT NULL,                                               -- when it was published, ms since the Unix epoch
    delivery    TEXT NOT NULL,                                                  -- the delivery as the receiver described it, JSON
    body        BLOB NOT NULL                                                   -- the sealed bytes, or the pointer to them
) STRICT;
CREATE INDEX queue_job_lane ON queue_job (lane);

-- --- identity

-- One Terra user id: what was stated of it, and (last three columns) what was concluded.
CREATE TABLE alias (
    environment     TEXT NOT NULL,                                              -- Terra environment (dev id) as named in the settings
    terra_user_id   TEXT NOT NULL,                                              -- one person at one provider, until the next re-authentication
    birth_id        BLOB NOT NULL UNIQUE CHECK (length(birth_id) = 16),         -- connection this alias was born with; a group of aliases takes the smallest
    opened          BLOB CHECK (length(opened) = 16),                           -- greatest order of auth, or of being the new id of a user_reauth
    closed          BLOB CHECK (length(closed) = 16),                           -- greatest order of deauth or access_revoked
    failed          BLOB CHECK (length(failed) = 16),                           -- greatest order of connection_error
    seen            BLOB CHECK (length(seen) = 16),                             -- greatest order of data
    authenticated   INTEGER NOT NULL CHECK (authenticated IN (0, 1)),           -- an auth of this very alias was processed
    provider        TEXT,                                                       -- as Terra spells it
    provider_order  BLOB CHECK (length(provider_order) = 16),                   -- order of the delivery that named the provider
    reference_id    TEXT,                                                       -- what the company gave Terra
    reference_order BLOB CHECK (length(reference_order) = 16),                  -- order of the delivery that named the reference
    scopes          TEXT,                                                       -- list of scopes
    scopes_order    BLOB CHECK (length(scopes_order) = 16),                     -- order of the delivery that named the scopes
    assigned_user   TEXT,                                                       -- internal user a person decided on; outranks the reference
    backfilled      BLOB CHECK (length(backfilled) = 16),                       -- the opened for which history was requested
    connection_id   BLOB NOT NULL CHECK (length(connection_id) = 16),           -- connection it belongs to, derived
    user_id         TEXT,                                                       -- internal user, derived
    status          TEXT NOT NULL CHECK (status IN ('active', 'degraded', 'revoked', 'unresolved', 'disputed')), -- of its connection, derived
    PRIMARY KEY (environment, terra_user_id)
) STRICT;
CREATE INDEX alias_connection ON alias (connection_id);
CREATE INDEX alias_user ON alias (user_id);
CREATE INDEX alias_reference ON alias (environment, reference_id);

-- Re-authentications.
CREATE TABLE alias_edge (
    environment TEXT NOT NULL,                                                  -- Terra environment
    old_id      TEXT NOT NULL,                                                  -- Terra user id before
    new_id      TEXT NOT NULL,                                                  -- Terra user id after
    edge_order  BLOB NOT NULL CHECK (length(edge_order) = 16),                  -- greatest order of the deliveries that said so
    severed     INTEGER NOT NULL CHECK (severed IN (0, 1)),                     -- a person decided that the two are not one
    PRIMARY KEY (environment, old_id, new_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX alias_edge_new ON alias_edge (environment, new_id);

-- Groups of aliases, derived from alias and alias_edge.
CREATE TABLE connection (
    id            BLOB PRIMARY KEY CHECK (length(id) = 16),                     -- smallest birth id of its aliases
    environment   TEXT NOT NULL,                                                -- Terra environment
    user_id       TEXT,                                                         -- internal user
    status        TEXT NOT NULL CHECK (status IN ('active', 'degraded', 'revoked', 'unresolved', 'disputed')), -- of the current alias, if a user is known
    provider      TEXT,                                                         -- of the current alias
    terra_user_id TEXT NOT NULL,                                                -- the current alias
    updated_at    INTEGER NOT NULL                                              -- when it was last concluded, ms
) STRICT, WITHOUT ROWID;
CREATE INDEX connection_user ON connection (user_id, id);
CREATE INDEX connection_status ON connection (status, id);

-- What resolvers answered for a reference_id.
CREATE TABLE resolution (
    environment  TEXT NOT NULL,                                                 -- Terra environment
    reference_id TEXT NOT NULL,                                                 -- what the company gave Terra
    user_id      TEXT,                                                          -- internal user; null while nobody knows it
    attempts     INTEGER NOT NULL DEFAULT 0,                                    -- answers of "unknown" so far
    run_at       INTEGER NOT NULL,                                              -- when to ask again, ms
    locked_until INTEGER,                                                       -- being asked until then, ms
    PRIMARY KEY (environment, reference_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX resolution_due ON resolution (run_at) WHERE user_id IS NULL;

-- Append-only history of connects, disconnects and failed attempts.
CREATE TABLE auth_event (
    id            INTEGER PRIMARY KEY,                                          -- ascending in the order of processing
    environment   TEXT NOT NULL,                                                -- Terra environment
    kind          TEXT NOT NULL,                                                -- Terra's name of the event
    succeeded     INTEGER NOT NULL CHECK (succeeded IN (0, 1)),                 -- 0: an attempt that failed
    terra_user_id TEXT,                                                         -- the alias it is about
    reference_id  TEXT,                                                         -- what the company gave Terra
    provider      TEXT,                                                         -- as Terra spells it
    event_order   BLOB NOT NULL CHECK (length(event_order) = 16),               -- order of the delivery
    received_at   INTEGER NOT NULL,                                             -- ms
    detail        TEXT NOT NULL                                                 -- JSON: reason, old and new ids, scopes
) STRICT;
CREATE INDEX auth_event_alias ON auth_event (environment, terra_user_id, id);

-- --- deliveries

-- What took effect, for 90 days.
CREATE TABLE processed (
    environment   TEXT NOT NULL,                                                -- Terra environment
    dedupe_key    TEXT NOT NULL,                                                -- trace:, event: or signed:, then the key
    body_digest   BLOB NOT NULL CHECK (length(body_digest) = 32),               -- SHA-256 of the body
    signed_digest BLOB NOT NULL CHECK (length(signed_digest) = 32),             -- SHA-256 of what the signature covers
    delivery_id   BLOB NOT NULL CHECK (length(delivery_id) = 16),               -- the delivery that took effect
    processed_at  INTEGER NOT NULL,                                             -- ms
    PRIMARY KEY (environment, dedupe_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX processed_signed ON processed (signed_digest);
CREATE INDEX processed_age ON processed (processed_at);

-- The ledger: one row per webhook received and worked; rows past the retention are deleted in batches.
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
    outcome        TEXT NOT NULL CHECK (outcome IN ('processed', 'duplicate', 'set_aside', 'quarantined', 'retry', 'dead')),
    reason         TEXT,                                                        -- why it was set aside, quarantined or failed
    attempts       INTEGER NOT NULL,                                            -- tries so far
    retry_at       INTEGER,                                                     -- due again, ms
    locked_until   INTEGER,                                                     -- held by a worker until then, ms
    row_count      INTEGER NOT NULL,                                            -- records inserted, changed or deleted
    settled_at     INTEGER NOT NULL                                             -- when the outcome was written, ms
) STRICT;
CREATE INDEX delivery_age ON delivery (received_at);
CREATE INDEX delivery_open ON delivery (retry_at) WHERE outcome = 'retry';
CREATE INDEX delivery_dead ON delivery (id) WHERE outcome = 'dead';

-- --- records

-- The id is a digest of environment, Terra user, kind and natural key: its being unique makes them unique.
CREATE TABLE activity (
    id                              BLOB PRIMARY KEY CHECK (length(id) = 16),   -- version 5 of what makes it the same record
    environment                     TEXT NOT NULL,                              -- Terra environment
    terra_user_id                   TEXT NOT NULL,                              -- the alias it came under
    natural_key                     TEXT NOT NULL,                              -- metadata.summary_id, unique per Terra user
    record_order                    BLOB NOT NULL CHECK (length(record_order) = 16), -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred                  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)), -- the order comes from the signed time alone: the ordering header was missing
    deleted                         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- tombstone: Terra sent upload_type 4
    start_at                        INTEGER,                                    -- start_time as an instant, ms
    start_time                      TEXT,                                       -- as delivered, with offset
    end_time                        TEXT,                                       -- as delivered, with offset
    fingerprint                     TEXT NOT NULL,                              -- JSON: digest per top-level field of the document, independent of key order
    document                        BLOB NOT NULL,                              -- Terra's object, sealed
    updated_at                      INTEGER NOT NULL,                           -- ms
    activity_type                   INTEGER,                                    -- Terra's open enum metadata.type; 0 is in a vehicle
    name                            TEXT,                                       -- as Terra names it
    upload_type                     INTEGER,                                    -- 0 unknown, 1 automatic, 2 manual, 3 update, 4 deleted, 5 pending, 6 third party
    timestamp_localization          INTEGER,                                    -- 0 times are UTC, 1 times are local
    distance_meters                 REAL,                                       -- m
    steps                           INTEGER,                                    -- count
    floors_climbed                  INTEGER,                                    -- count
    elevation_gain_meters           REAL,                                       -- m
    elevation_loss_meters           REAL,                                       -- m
    avg_hr_bpm                      REAL,                                       -- beats per minute
    max_hr_bpm                      REAL,                                       -- beats per minute
    min_hr_bpm                      REAL,                                       -- beats per minute
    resting_hr_bpm                  REAL,                                       -- beats per minute
    avg_hrv_rmssd                   REAL,                                       -- ms
    avg_hrv_sdnn                    REAL,                                       -- ms
    total_burned_calories           REAL,                                       -- kcal
    net_activity_calories           REAL,                                       -- kcal
    bmr_calories                    REAL,                                       -- kcal
    energy_kilojoules               REAL,                                       -- kJ
    work_kilojoules                 REAL,                                       -- kJ
    activity_seconds                REAL,                                       -- s
    inactivity_seconds              REAL,                                       -- s
    rest_seconds                    REAL,                                       -- s
    low_intensity_seconds           REAL,                                       -- s
    moderate_intensity_seconds      REAL,                                       -- s
    vigorous_intensity_seconds      REAL,                                       -- s
    avg_speed_meters_per_second     REAL,                                       -- m/s
    max_speed_meters_per_second     REAL,                                       -- m/s
    avg_pace_minutes_per_kilometer  REAL,                                       -- min/km
    avg_cadence_rpm                 REAL,                                       -- revolutions or strides per minute
    max_cadence_rpm                 REAL,                                       -- revolutions or strides per minute
    avg_power_watts                 REAL,                                       -- W
    max_power_watts                 REAL,                                       -- W
    avg_saturation_percentage       REAL,                                       -- SpO2, percent
    vo2max_ml_per_min_per_kg        REAL,                                       -- ml/min/kg
    strain_level                    REAL,                                       -- the provider's own score
    strain_score                    REAL,                                       -- Terra's enrichment score
    efficiency_score                REAL,                                       -- Terra's enrichment score
    rcrs_score                      REAL,                                       -- Terra's enrichment score
    trimp_score                     REAL,                                       -- Terra's enrichment score
    device_name                     TEXT,                                       -- as Terra names it
    device_manufacturer             TEXT                                        -- as Terra names it
) STRICT;
CREATE INDEX activity_start ON activity (environment, terra_user_id, start_at DESC, id);

-- Records of kinds that are kept as documents. The id is made as in activity.
CREATE TABLE document_record (
    id              BLOB PRIMARY KEY CHECK (length(id) = 16),                   -- version 5 of what makes it the same record
    environment     TEXT NOT NULL,                                              -- Terra environment
    terra_user_id   TEXT NOT NULL,                                              -- the alias it came under
    kind            TEXT NOT NULL,                                              -- Terra's name of the kind
    natural_key     TEXT NOT NULL,                                              -- unique per Terra user and kind
    record_order    BLOB NOT NULL CHECK (length(record_order) = 16),            -- order of the delivery that wrote this row; only a greater one overwrites
    order_inferred  INTEGER NOT NULL CHECK (order_inferred IN (0, 1)),          -- the order comes from the signed time alone
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)),                 -- tombstone
    start_at        INTEGER,                                                    -- start_time as an instant, ms
    start_time      TEXT,                                                       -- as delivered, with offset
    end_time        TEXT,                                                       -- as delivered, with offset
    fingerprint     TEXT NOT NULL,                                              -- JSON: digest per top-level field of the document
    document        BLOB NOT NULL,                                              -- Terra's object, sealed
    updated_at      INTEGER NOT NULL                                            -- ms
) STRICT;
CREATE INDEX document_record_start ON document_record (environment, terra_user_id, kind, start_at DESC, id);

-- --- outgoing events

-- Outbox and log of what the company's services are told.
CREATE TABLE event (
    sequence      INTEGER PRIMARY KEY,                                          -- order of insertion; has gaps, so readers never use it
    id            BLOB NOT NULL UNIQUE CHECK (length(id) = 16),                 -- stable across redeliveries
    position      INTEGER UNIQUE,                                               -- gapless place in the log, given by the relay; null until then
    held          INTEGER NOT NULL CHECK (held IN (0, 1)),                      -- waits until its connection has one undoubted internal user
    environment   TEXT NOT NULL,                                                -- Terra environment
    terra_user_id TEXT,                                                         -- the alias it is about
    connection_id BLOB CHECK (length(connection_id) = 16),                      -- the connection it is about
    subject       TEXT,                                                         -- internal user
    entity        TEXT NOT NULL,                                                -- first word of its topic
    verb          TEXT NOT NULL,                                                -- second word of its topic
    provider      TEXT,                                                         -- as Terra spells it
    record_id     BLOB CHECK (length(record_id) = 16),                          -- the record it is about
    happened_at   INTEGER NOT NULL,                                             -- ms
    data          TEXT NOT NULL                                                 -- JSON: what services get
) STRICT;
CREATE INDEX event_waiting ON event (sequence) WHERE position IS NULL AND held = 0;
CREATE INDEX event_held ON event (environment, terra_user_id) WHERE held = 1;
CREATE UNIQUE INDEX event_held_record ON event (record_id) WHERE held = 1 AND record_id IS NOT NULL;

CREATE TABLE relay (
    only_row  INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    numbered  INTEGER NOT NULL,                                                 -- last position given
    published INTEGER NOT NULL                                                  -- last position known to be published
) STRICT;
INSERT INTO relay (numbered, published) VALUES (0, 0);

-- What may run once at a time.
CREATE TABLE lease (
    name       TEXT PRIMARY KEY,                                                -- what is leased
    holder     BLOB NOT NULL CHECK (length(holder) = 16),                       -- who has it
    held_until INTEGER NOT NULL                                                 -- ms
) STRICT, WITHOUT ROWID;

-- --- connect and fetch

-- Walks of people through Terra's widget.
CREATE TABLE connect_session (
    id                BLOB PRIMARY KEY CHECK (length(id) = 16),                 -- our own id
    environment       TEXT NOT NULL,                                            -- Terra environment
    user_id           TEXT NOT NULL,                                            -- internal user
    reference_id      TEXT NOT NULL,                                            -- what the company gave Terra
    state_digest      BLOB NOT NULL UNIQUE CHECK (length(state_digest) = 32),   -- SHA-256 of the one-time state in the redirect URLs; the state itself is not kept
    widget_session_id TEXT,                                                     -- Terra's own id
    widget_url        TEXT,                                                     -- where the browser goes
    success_url       TEXT NOT NULL,                                            -- where it comes back to in the end
    failure_url       TEXT,                                                     -- the same after a failure
    created_at        INTEGER NOT NULL,                                         -- ms
    expires_at        INTEGER NOT NULL,                                         -- ms
    state             TEXT NOT NULL CHECK (state IN ('pending', 'connected', 'failed')),
    terra_user_id     TEXT,                                                     -- the alias that came of it
    provider          TEXT,                                                     -- as Terra spells it
    reason            TEXT,                                                     -- why it failed
    returned_at       INTEGER                                                   -- when the browser came back, ms
) STRICT;
CREATE INDEX connect_session_widget ON connect_session (environment, widget_session_id);
CREATE INDEX connect_session_reference ON connect_session (environment, reference_id, created_at);

-- Requests for data to Terra.
CREATE TABLE fetch_job (
    id              BLOB PRIMARY KEY CHECK (length(id) = 16),                   -- derived from what caused it
    environment     TEXT NOT NULL,                                              -- Terra environment
    terra_user_id   TEXT NOT NULL,                                              -- the alias to ask for
    provider        TEXT,                                                       -- as Terra spells it
    kind            TEXT NOT NULL,                                              -- kind of record to ask for
    window_start    TEXT NOT NULL,                                              -- date, inclusive
    window_end      TEXT NOT NULL,                                              -- date, exclusive
    state           TEXT NOT NULL CHECK (state IN ('queued', 'requested', 'done', 'nothing', 'failed')),
    run_at          INTEGER NOT NULL,                                           -- due, ms
    attempts        INTEGER NOT NULL,                                           -- tries that failed; being asked to wait is none
    lease_token     INTEGER NOT NULL DEFAULT 0,                                 -- counts leases: fences a fetcher that was taken for dead
    locked_until    INTEGER,                                                    -- held by a fetcher until then, ms
    status          INTEGER,                                                    -- HTTP status of the last answer
    reason          TEXT,                                                       -- why it waits or failed
    terra_reference TEXT,                                                       -- Terra's name of an accepted request
    updated_at      INTEGER NOT NULL                                            -- ms
) STRICT;
CREATE UNIQUE INDEX fetch_job_open ON fetch_job (environment, terra_user_id, kind, window_start, window_end) WHERE state = 'queued';
CREATE INDEX fetch_job_due ON fetch_job (run_at) WHERE state = 'queued';
CREATE INDEX fetch_job_alias ON fetch_job (environment, terra_user_id);
CREATE INDEX fetch_job_reference ON fetch_job (environment, terra_reference);

-- How much of the installation's pace towards Terra is left.
CREATE TABLE fetch_allowance (
    only_row    INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    millitokens INTEGER NOT NULL,                                               -- requests that may go out now, in thousandths
    refilled_at INTEGER NOT NULL,                                               -- ms
    day         TEXT NOT NULL,                                                  -- date, UTC
    used_today  INTEGER NOT NULL                                                -- requests of that day
) STRICT;
INSERT INTO fetch_allowance (millitokens, refilled_at, day, used_today) VALUES (0, 0, '1970-01-01', 0);

-- Who decided what.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,                                                -- in the order of deciding
    at      INTEGER NOT NULL,                                                   -- ms
    actor   TEXT NOT NULL,                                                      -- who
    action  TEXT NOT NULL,                                                      -- what
    subject TEXT NOT NULL,                                                      -- about what
    detail  TEXT NOT NULL                                                       -- JSON
) STRICT;
