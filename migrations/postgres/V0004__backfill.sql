-- Expand: why a job was made and for which wish, whose turn it is, what was spent, what rests, and what came of what
-- was asked for. A binary made for an earlier level leaves new columns to their defaults.

ALTER TABLE fetch_job ADD COLUMN origin text NOT NULL DEFAULT 'connect' CHECK (origin IN ('request', 'order', 'missing', 'connect', 'recover', 'reconcile'));
ALTER TABLE fetch_job ADD COLUMN priority smallint NOT NULL DEFAULT 1;
ALTER TABLE fetch_job ADD COLUMN backfill_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
ALTER TABLE fetch_job ADD COLUMN merged_into uuid;
ALTER TABLE fetch_job ADD COLUMN size_bytes bigint NOT NULL DEFAULT 0;
CREATE INDEX fetch_job_turn ON fetch_job (environment, terra_user_id, priority, window_start) WHERE state = 'queued';
CREATE INDEX fetch_job_closed ON fetch_job (updated_at) WHERE state <> 'queued';
COMMENT ON COLUMN fetch_job.origin IS 'why it was made';
COMMENT ON COLUMN fetch_job.priority IS 'smaller goes first; 0 is what somebody waits for';
COMMENT ON COLUMN fetch_job.backfill_id IS 'the wish it was made for; nil where it is older than wishes are';
COMMENT ON COLUMN fetch_job.merged_into IS 'the job that asks for its days instead; its own state is nothing';
COMMENT ON COLUMN fetch_job.size_bytes IS 'of an answer that held the data itself';

CREATE TABLE fetch_turn (
    environment   text NOT NULL,
    terra_user_id text NOT NULL,
    priority      smallint NOT NULL,
    provider      text,
    due_at        timestamptz NOT NULL,
    served_at     timestamptz NOT NULL,
    PRIMARY KEY (environment, terra_user_id, priority)
);
CREATE INDEX fetch_turn_order ON fetch_turn (priority, served_at);
COMMENT ON TABLE fetch_turn IS 'whose turn it is to fetch: a row for each alias and priority with queued jobs';
COMMENT ON COLUMN fetch_turn.provider IS 'in capitals';
COMMENT ON COLUMN fetch_turn.due_at IS 'nothing of it can go out before then';
COMMENT ON COLUMN fetch_turn.served_at IS 'its last turn; before that, when it was first queued';
INSERT INTO fetch_turn (environment, terra_user_id, priority, provider, due_at, served_at)
SELECT environment, terra_user_id, priority, upper(max(provider)), 'epoch', min(run_at)
  FROM fetch_job
 WHERE state = 'queued'
 GROUP BY environment, terra_user_id, priority;

CREATE TABLE fetch_spend (
    fetch_job_id  uuid NOT NULL,
    lease_token   bigint NOT NULL,
    environment   text NOT NULL,
    terra_user_id text NOT NULL,
    days          integer NOT NULL CHECK (days > 0),
    spent_at      timestamptz NOT NULL,
    PRIMARY KEY (fetch_job_id, lease_token)
);
CREATE INDEX fetch_spend_alias ON fetch_spend (environment, terra_user_id, spent_at);
CREATE INDEX fetch_spend_age ON fetch_spend (spent_at);
COMMENT ON TABLE fetch_spend IS 'days asked of Terra, for its rolling hour';
COMMENT ON COLUMN fetch_spend.spent_at IS 'when it was answered; before that, the end of the lease';

CREATE TABLE fetch_pause (
    environment text NOT NULL,
    scope       text NOT NULL CHECK (scope IN ('environment', 'provider', 'alias')),
    subject     text NOT NULL,
    until       timestamptz NOT NULL,
    reason      text NOT NULL,
    failures    integer NOT NULL DEFAULT 0,
    last        text NOT NULL DEFAULT '',
    PRIMARY KEY (environment, scope, subject)
);
COMMENT ON TABLE fetch_pause IS 'what rests until when; holds jobs that are queued later as well';
COMMENT ON COLUMN fetch_pause.subject IS 'provider in capitals, or Terra user id; empty for an environment';
COMMENT ON COLUMN fetch_pause.failures IS 'failures in a row; 0 where it does not come of failures';
COMMENT ON COLUMN fetch_pause.last IS 'Terra user id of the last failure';

CREATE TABLE backfill (
    id            uuid PRIMARY KEY,
    environment   text NOT NULL,
    terra_user_id text NOT NULL,
    provider      text,
    origin        text NOT NULL CHECK (origin IN ('request', 'order', 'missing', 'connect', 'recover', 'reconcile', 'terra')),
    reference     text,
    kinds         text NOT NULL,
    window_start  date,
    window_end    date,
    state         text NOT NULL CHECK (state IN ('open', 'complete', 'incomplete')),
    reason        text,
    requested     integer NOT NULL DEFAULT 0,
    expected      integer NOT NULL DEFAULT 0,
    received      integer NOT NULL DEFAULT 0,
    size_bytes    bigint NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL,
    progressed_at timestamptz NOT NULL,
    look_at       timestamptz NOT NULL,
    stalled_since timestamptz,
    settled_at    timestamptz
);
CREATE INDEX backfill_look ON backfill (look_at) WHERE state = 'open';
CREATE INDEX backfill_alias ON backfill (environment, terra_user_id);
CREATE INDEX backfill_reference ON backfill (environment, reference);
COMMENT ON TABLE backfill IS 'one wish for data of one alias, and what came of it when it was last looked at';
COMMENT ON COLUMN backfill.origin IS 'why; terra where Terra announced a large request that we did not make';
COMMENT ON COLUMN backfill.reference IS 'Terra''s name of the request, for origin terra alone';
COMMENT ON COLUMN backfill.kinds IS 'comma separated';
COMMENT ON COLUMN backfill.window_end IS 'exclusive; both null where the days are not known';
COMMENT ON COLUMN backfill.requested IS 'requests it takes';
COMMENT ON COLUMN backfill.expected IS 'payloads: as announced, else one a request';
COMMENT ON COLUMN backfill.progressed_at IS 'when something of it last came, or changed';
COMMENT ON COLUMN backfill.stalled_since IS 'when something last came of a request that then stalled';
COMMENT ON COLUMN backfill.look_at IS 'due to be looked at; moved ahead when something of it came';

CREATE TABLE backfill_fetch (
    backfill_id  uuid NOT NULL,
    fetch_job_id uuid NOT NULL,
    gap_of       uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    round        integer NOT NULL DEFAULT 0,
    PRIMARY KEY (backfill_id, fetch_job_id, gap_of)
);
CREATE INDEX backfill_fetch_job ON backfill_fetch (fetch_job_id);
COMMENT ON TABLE backfill_fetch IS 'which jobs a wish leans on; one job may serve several';
COMMENT ON COLUMN backfill_fetch.gap_of IS 'the job of which this one asks for a missing part; nil for none';
COMMENT ON COLUMN backfill_fetch.round IS 'how often that was asked for again';

CREATE TABLE fetch_request (
    environment   text NOT NULL,
    reference     text NOT NULL,
    terra_user_id text,
    provider      text,
    expected      integer,
    announced_at  timestamptz NOT NULL,
    tracked       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (environment, reference)
);
CREATE INDEX fetch_request_untracked ON fetch_request (announced_at) WHERE NOT tracked;
COMMENT ON TABLE fetch_request IS 'large requests that Terra announced, ours or not';
COMMENT ON COLUMN fetch_request.expected IS 'payloads to come; null while Terra is still at it';
COMMENT ON COLUMN fetch_request.announced_at IS 'first announcement';
COMMENT ON COLUMN fetch_request.tracked IS 'known to belong to a job of ours, or has a backfill of its own';

CREATE TABLE fetch_chunk (
    environment text NOT NULL,
    reference   text NOT NULL,
    dedupe_key  text NOT NULL,
    number      integer,
    items       integer NOT NULL,
    size_bytes  bigint NOT NULL,
    first_day   date,
    last_day    date,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (environment, reference, dedupe_key)
);
CREATE INDEX fetch_chunk_age ON fetch_chunk (received_at);
COMMENT ON TABLE fetch_chunk IS 'data that came under Terra''s reference of a request, whether or not we know it';
COMMENT ON COLUMN fetch_chunk.dedupe_key IS 'of its delivery, so that a duplicate is the same row';
COMMENT ON COLUMN fetch_chunk.number IS 'as its trace id has it';
COMMENT ON COLUMN fetch_chunk.first_day IS 'earliest start of a record in it, as dated by Terra';
