-- Facts, records, ledger, jobs and the event log. All tables live in the schema of the connection's search_path.
-- An `order` is 16 bytes: 8 of milliseconds since the Unix epoch (big-endian), then 8 of the body's SHA-256; comparing
-- the bytes compares the orders.

CREATE TABLE schema_level (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    readable_from integer NOT NULL
);
COMMENT ON COLUMN schema_level.readable_from IS 'oldest schema level a binary may be made for and still work with this schema';
INSERT INTO schema_level (readable_from) VALUES (1);

-- --- identity

CREATE TABLE alias (
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    birth_id        uuid NOT NULL UNIQUE,
    opened          bytea CHECK (length(opened) = 16),
    closed          bytea CHECK (length(closed) = 16),
    failed          bytea CHECK (length(failed) = 16),
    seen            bytea CHECK (length(seen) = 16),
    authenticated   boolean NOT NULL,
    provider        text,
    provider_order  bytea CHECK (length(provider_order) = 16),
    reference_id    text,
    reference_order bytea CHECK (length(reference_order) = 16),
    scopes          text[],
    scopes_order    bytea CHECK (length(scopes_order) = 16),
    assigned_user   text,
    backfilled      bytea CHECK (length(backfilled) = 16),
    connection_id   uuid NOT NULL,
    user_id         text,
    status          text NOT NULL CHECK (status IN ('active', 'degraded', 'revoked', 'unresolved', 'disputed')),
    PRIMARY KEY (environment, terra_user_id)
);
ALTER TABLE alias SET (fillfactor = 80); -- every delivery of data updates `seen`: room to do so within the page
CREATE INDEX alias_connection ON alias (connection_id);
CREATE INDEX alias_user ON alias (user_id);
CREATE INDEX alias_reference ON alias (environment, reference_id);
COMMENT ON TABLE alias IS 'one Terra user id: what was stated of it, and (last three columns) what was concluded';
COMMENT ON COLUMN alias.birth_id IS 'connection this alias was born with; a group of aliases takes the smallest';
COMMENT ON COLUMN alias.opened IS 'greatest order of auth, or of being the new id of a user_reauth';
COMMENT ON COLUMN alias.closed IS 'greatest order of deauth or access_revoked';
COMMENT ON COLUMN alias.failed IS 'greatest order of connection_error';
COMMENT ON COLUMN alias.seen IS 'greatest order of data';
COMMENT ON COLUMN alias.authenticated IS 'an auth of this very alias was processed';
COMMENT ON COLUMN alias.assigned_user IS 'internal user a person decided on; outranks the reference';
COMMENT ON COLUMN alias.backfilled IS 'the opened for which history was requested';
COMMENT ON COLUMN alias.user_id IS 'internal user, derived';

CREATE TABLE alias_edge (
    environment text NOT NULL,
    old_id      text NOT NULL,
    new_id      text NOT NULL,
    edge_order  bytea NOT NULL CHECK (length(edge_order) = 16),
    severed     boolean NOT NULL,
    PRIMARY KEY (environment, old_id, new_id)
);
CREATE INDEX alias_edge_new ON alias_edge (environment, new_id);
COMMENT ON TABLE alias_edge IS 're-authentications, old Terra user id to new; severed once a person decided that the two are not one';

CREATE TABLE connection (
    id            uuid PRIMARY KEY,
    environment   text NOT NULL,
    user_id       text,
    status        text NOT NULL CHECK (status IN ('active', 'degraded', 'revoked', 'unresolved', 'disputed')),
    provider      text,
    terra_user_id text NOT NULL,
    updated_at    timestamptz NOT NULL
);
CREATE INDEX connection_user ON connection (user_id, id);
CREATE INDEX connection_status ON connection (status, id);
COMMENT ON TABLE connection IS 'groups of aliases, derived from alias and alias_edge';
COMMENT ON COLUMN connection.terra_user_id IS 'the current alias';

CREATE TABLE resolution (
    environment  text NOT NULL,
    reference_id text NOT NULL,
    user_id      text,
    attempts     integer NOT NULL DEFAULT 0,
    run_at       timestamptz NOT NULL,
    locked_until timestamptz,
    PRIMARY KEY (environment, reference_id)
);
CREATE INDEX resolution_due ON resolution (run_at) WHERE user_id IS NULL;
COMMENT ON TABLE resolution IS 'what resolvers answered for a reference_id; user_id is null while nobody knows it';

CREATE TABLE auth_event (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment   text NOT NULL,
    kind          text NOT NULL,
    succeeded     boolean NOT NULL,
    terra_user_id text,
    reference_id  text,
    provider      text,
    event_order   bytea NOT NULL CHECK (length(event_order) = 16),
    received_at   timestamptz NOT NULL,
    detail        jsonb NOT NULL
);
CREATE INDEX auth_event_alias ON auth_event (environment, terra_user_id, id);
COMMENT ON TABLE auth_event IS 'append-only history of connects, disconnects and failed attempts';

-- --- deliveries

CREATE TABLE processed (
    environment   text NOT NULL,
    dedupe_key    text NOT NULL,
    body_digest   bytea NOT NULL CHECK (length(body_digest) = 32),
    signed_digest bytea NOT NULL CHECK (length(signed_digest) = 32),
    delivery_id   uuid NOT NULL,
    processed_at  timestamptz NOT NULL,
    PRIMARY KEY (environment, dedupe_key)
);
CREATE INDEX processed_signed ON processed (signed_digest);
CREATE INDEX processed_age ON processed (processed_at);
COMMENT ON TABLE processed IS 'what took effect, for 90 days; not partitioned by time, or uniqueness would end at midnight';

CREATE TABLE delivery (
    id            uuid NOT NULL,
    received_at   timestamptz NOT NULL,
    environment   text NOT NULL,
    trace_id      text,
    reference     text,
    type_name     text,
    terra_user_id text,
    delivery_order bytea NOT NULL CHECK (length(delivery_order) = 16),
    size_bytes    bigint NOT NULL,
    body_digest   bytea NOT NULL CHECK (length(body_digest) = 32),
    late          boolean NOT NULL,
    metadata      jsonb NOT NULL,
    body          bytea NOT NULL,
    outcome       text NOT NULL CHECK (outcome IN ('processed', 'duplicate', 'set_aside', 'quarantined', 'retry', 'dead')),
    reason        text,
    attempts      integer NOT NULL,
    retry_at      timestamptz,
    locked_until  timestamptz,
    row_count     integer NOT NULL,
    settled_at    timestamptz NOT NULL,
    PRIMARY KEY (received_at, id)
) PARTITION BY RANGE (received_at);
CREATE TABLE delivery_default PARTITION OF delivery DEFAULT;
ALTER TABLE delivery ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX delivery_id ON delivery (id);
CREATE INDEX delivery_open ON delivery (retry_at) WHERE outcome = 'retry';
CREATE INDEX delivery_dead ON delivery (id) WHERE outcome = 'dead';
COMMENT ON TABLE delivery IS 'the ledger: one row per webhook received and worked; partitions of one day, delivery_YYYYMMDD, are dropped after the retention';
COMMENT ON COLUMN delivery.metadata IS 'the delivery as the receiver described it';
COMMENT ON COLUMN delivery.body IS 'the sealed bytes, or the pointer to them';
COMMENT ON COLUMN delivery.row_count IS 'records inserted, changed or deleted';

-- --- records

CREATE TABLE activity (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    activity_type                   bigint,
    name                            text,
    upload_type                     bigint,
    timestamp_localization          bigint,
    distance_meters                 double precision,
    steps                           bigint,
    floors_climbed                  bigint,
    elevation_gain_meters           double precision,
    elevation_loss_meters           double precision,
    avg_hr_bpm                      double precision,
    max_hr_bpm                      double precision,
    min_hr_bpm                      double precision,
    resting_hr_bpm                  double precision,
    avg_hrv_rmssd                   double precision,
    avg_hrv_sdnn                    double precision,
    total_burned_calories           double precision,
    net_activity_calories           double precision,
    bmr_calories                    double precision,
    energy_kilojoules               double precision,
    work_kilojoules                 double precision,
    activity_seconds                double precision,
    inactivity_seconds              double precision,
    rest_seconds                    double precision,
    low_intensity_seconds           double precision,
    moderate_intensity_seconds      double precision,
    vigorous_intensity_seconds      double precision,
    avg_speed_meters_per_second     double precision,
    max_speed_meters_per_second     double precision,
    avg_pace_minutes_per_kilometer  double precision,
    avg_cadence_rpm                 double precision,
    max_cadence_rpm                 double precision,
    avg_power_watts                 double precision,
    max_power_watts                 double precision,
    avg_saturation_percentage       double precision,
    vo2max_ml_per_min_per_kg        double precision,
    strain_level                    double precision,
    strain_score                    double precision,
    efficiency_score                double precision,
    rcrs_score                      double precision,
    trimp_score                     double precision,
    device_name                     text,
    device_manufacturer             text,
    UNIQUE (environment, terra_user_id, natural_key)
);
CREATE INDEX activity_start ON activity (environment, terra_user_id, start_at DESC, id);
ALTER TABLE activity ALTER COLUMN document SET STORAGE EXTERNAL;
COMMENT ON COLUMN activity.activity_type IS 'Terra''s open enum metadata.type; 0 is in a vehicle';
COMMENT ON COLUMN activity.name IS 'as Terra names it';
COMMENT ON COLUMN activity.upload_type IS '0 unknown, 1 automatic, 2 manual, 3 update, 4 deleted, 5 pending, 6 third party';
COMMENT ON COLUMN activity.timestamp_localization IS '0 times are UTC, 1 times are local';
COMMENT ON COLUMN activity.distance_meters IS 'm';
COMMENT ON COLUMN activity.steps IS 'count';
COMMENT ON COLUMN activity.floors_climbed IS 'count';
COMMENT ON COLUMN activity.elevation_gain_meters IS 'm';
COMMENT ON COLUMN activity.elevation_loss_meters IS 'm';
COMMENT ON COLUMN activity.avg_hr_bpm IS 'beats per minute';
COMMENT ON COLUMN activity.max_hr_bpm IS 'beats per minute';
COMMENT ON COLUMN activity.min_hr_bpm IS 'beats per minute';
COMMENT ON COLUMN activity.resting_hr_bpm IS 'beats per minute';
COMMENT ON COLUMN activity.avg_hrv_rmssd IS 'ms';
COMMENT ON COLUMN activity.avg_hrv_sdnn IS 'ms';
COMMENT ON COLUMN activity.total_burned_calories IS 'kcal';
COMMENT ON COLUMN activity.net_activity_calories IS 'kcal';
COMMENT ON COLUMN activity.bmr_calories IS 'kcal';
COMMENT ON COLUMN activity.energy_kilojoules IS 'kJ';
COMMENT ON COLUMN activity.work_kilojoules IS 'kJ';
COMMENT ON COLUMN activity.activity_seconds IS 's';
COMMENT ON COLUMN activity.inactivity_seconds IS 's';
COMMENT ON COLUMN activity.rest_seconds IS 's';
COMMENT ON COLUMN activity.low_intensity_seconds IS 's';
COMMENT ON COLUMN activity.moderate_intensity_seconds IS 's';
COMMENT ON COLUMN activity.vigorous_intensity_seconds IS 's';
COMMENT ON COLUMN activity.avg_speed_meters_per_second IS 'm/s';
COMMENT ON COLUMN activity.max_speed_meters_per_second IS 'm/s';
COMMENT ON COLUMN activity.avg_pace_minutes_per_kilometer IS 'min/km';
COMMENT ON COLUMN activity.avg_cadence_rpm IS 'revolutions or strides per minute';
COMMENT ON COLUMN activity.max_cadence_rpm IS 'revolutions or strides per minute';
COMMENT ON COLUMN activity.avg_power_watts IS 'W';
COMMENT ON COLUMN activity.max_power_watts IS 'W';
COMMENT ON COLUMN activity.avg_saturation_percentage IS 'SpO2, percent';
COMMENT ON COLUMN activity.vo2max_ml_per_min_per_kg IS 'ml/min/kg';
COMMENT ON COLUMN activity.strain_level IS 'the provider''s own score';
COMMENT ON COLUMN activity.strain_score IS 'Terra''s enrichment score';
COMMENT ON COLUMN activity.efficiency_score IS 'Terra''s enrichment score';
COMMENT ON COLUMN activity.rcrs_score IS 'Terra''s enrichment score';
COMMENT ON COLUMN activity.trimp_score IS 'Terra''s enrichment score';
COMMENT ON COLUMN activity.device_name IS 'as Terra names it';
COMMENT ON COLUMN activity.device_manufacturer IS 'as Terra names it';
COMMENT ON COLUMN activity.natural_key IS 'metadata.summary_id, unique per Terra user';
COMMENT ON COLUMN activity.record_order IS 'order of the delivery that wrote this row; only a greater one overwrites';
COMMENT ON COLUMN activity.order_inferred IS 'the order comes from the signed time alone: the ordering header was missing';
COMMENT ON COLUMN activity.deleted IS 'tombstone: Terra sent upload_type 4';
COMMENT ON COLUMN activity.start_at IS 'start_time as an instant';
COMMENT ON COLUMN activity.start_time IS 'as delivered, with offset';
COMMENT ON COLUMN activity.fingerprint IS 'digest per top-level field of the document, independent of key order; json, because jsonb knows no NUL and a name may hold one';
COMMENT ON COLUMN activity.document IS 'Terra''s object, sealed';

CREATE TABLE document_record (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    kind            text NOT NULL,
    natural_key     text NOT NULL,
    record_order    bytea NOT NULL CHECK (length(record_order) = 16),
    order_inferred  boolean NOT NULL,
    deleted         boolean NOT NULL,
    start_at        timestamptz,
    start_time      text,
    end_time        text,
    fingerprint     json NOT NULL,
    document        bytea NOT NULL,
    updated_at      timestamptz NOT NULL,
    UNIQUE (environment, terra_user_id, kind, natural_key)
);
ALTER TABLE document_record ALTER COLUMN document SET STORAGE EXTERNAL;
CREATE INDEX document_record_start ON document_record (environment, terra_user_id, kind, start_at DESC, id);
COMMENT ON TABLE document_record IS 'records of kinds that are kept as documents';

-- --- outgoing events

CREATE TABLE event (
    sequence      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            uuid NOT NULL UNIQUE,
    position      bigint UNIQUE,
    held          boolean NOT NULL,
    environment   text NOT NULL,
    terra_user_id text,
    connection_id uuid,
    subject       text,
    entity        text NOT NULL,
    verb          text NOT NULL,
    provider      text,
    record_id     uuid,
    happened_at   timestamptz NOT NULL,
    data          jsonb NOT NULL
);
CREATE INDEX event_waiting ON event (sequence) WHERE position IS NULL AND NOT held;
CREATE INDEX event_held ON event (environment, terra_user_id) WHERE held;
CREATE UNIQUE INDEX event_held_record ON event (record_id) WHERE held AND record_id IS NOT NULL;
COMMENT ON COLUMN event.sequence IS 'order of insertion; has gaps and is visible late, so readers never use it';
COMMENT ON COLUMN event.position IS 'gapless place in the log, given by the relay; null until then';
COMMENT ON COLUMN event.held IS 'waits until its connection has one undoubted internal user';

CREATE TABLE relay (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    numbered  bigint NOT NULL,
    published bigint NOT NULL
);
COMMENT ON TABLE relay IS 'last position given, and last position known to be published';
INSERT INTO relay (numbered, published) VALUES (0, 0);

CREATE TABLE lease (
    name       text PRIMARY KEY,
    holder     uuid NOT NULL,
    held_until timestamptz NOT NULL
);
COMMENT ON TABLE lease IS 'what may run once at a time';

-- --- connect and fetch

CREATE TABLE connect_session (
    id                uuid PRIMARY KEY,
    environment       text NOT NULL,
    user_id           text NOT NULL,
    reference_id      text NOT NULL,
    state_digest      bytea NOT NULL UNIQUE CHECK (length(state_digest) = 32),
    widget_session_id text,
    widget_url        text,
    success_url       text NOT NULL,
    failure_url       text,
    created_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    state             text NOT NULL CHECK (state IN ('pending', 'connected', 'failed')),
    terra_user_id     text,
    provider          text,
    reason            text,
    returned_at       timestamptz
);
CREATE INDEX connect_session_widget ON connect_session (environment, widget_session_id);
CREATE INDEX connect_session_reference ON connect_session (environment, reference_id, created_at);
COMMENT ON COLUMN connect_session.state_digest IS 'SHA-256 of the one-time state in the redirect URLs; the state itself is not kept';

CREATE TABLE fetch_job (
    id              uuid PRIMARY KEY,
    environment     text NOT NULL,
    terra_user_id   text NOT NULL,
    provider        text,
    kind            text NOT NULL,
    window_start    date NOT NULL,
    window_end      date NOT NULL,
    state           text NOT NULL CHECK (state IN ('queued', 'requested', 'done', 'nothing', 'failed')),
    run_at          timestamptz NOT NULL,
    attempts        integer NOT NULL,
    lease_token     bigint NOT NULL DEFAULT 0,
    locked_until    timestamptz,
    status          integer,
    reason          text,
    terra_reference text,
    updated_at      timestamptz NOT NULL
);
CREATE UNIQUE INDEX fetch_job_open ON fetch_job (environment, terra_user_id, kind, window_start, window_end) WHERE state = 'queued';
CREATE INDEX fetch_job_due ON fetch_job (run_at) WHERE state = 'queued';
CREATE INDEX fetch_job_alias ON fetch_job (environment, terra_user_id);
CREATE INDEX fetch_job_reference ON fetch_job (environment, terra_reference);
COMMENT ON COLUMN fetch_job.window_end IS 'exclusive';
COMMENT ON COLUMN fetch_job.attempts IS 'tries that failed; being asked to wait is none';
COMMENT ON COLUMN fetch_job.lease_token IS 'counts leases: fences a fetcher that was taken for dead';

CREATE TABLE fetch_allowance (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    millitokens bigint NOT NULL,
    refilled_at timestamptz NOT NULL,
    day         date NOT NULL,
    used_today  bigint NOT NULL
);
COMMENT ON TABLE fetch_allowance IS 'how much of the installation''s pace towards Terra is left';
INSERT INTO fetch_allowance (millitokens, refilled_at, day, used_today) VALUES (0, 'epoch', '1970-01-01', 0);

CREATE TABLE audit (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL,
    actor    text NOT NULL,
    action   text NOT NULL,
    subject  text NOT NULL,
    detail   jsonb NOT NULL
);
COMMENT ON TABLE audit IS 'who decided what';
