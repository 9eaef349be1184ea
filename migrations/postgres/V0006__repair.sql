-- Expand: comparing with Terra's list of users, and getting back what an outage lost.

-- --- reconcile

CREATE TABLE reconcile_run (
    id           uuid PRIMARY KEY,
    environment  text,
    reference_id text,
    dry_run      boolean NOT NULL,
    scheduled    boolean NOT NULL,
    requested_at timestamptz NOT NULL,
    started_at   timestamptz,
    finished_at  timestamptz,
    state        text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'refused', 'failed')),
    counts       jsonb NOT NULL,
    reason       text
);
CREATE INDEX reconcile_run_open ON reconcile_run (requested_at) WHERE state IN ('queued', 'running');
COMMENT ON TABLE reconcile_run IS 'comparisons with Terra''s own list of users';
COMMENT ON COLUMN reconcile_run.id IS 'version 7, ordered by request';
COMMENT ON COLUMN reconcile_run.environment IS 'Terra environment; null for all that have credentials';
COMMENT ON COLUMN reconcile_run.reference_id IS 'only users that carry this reference; null for all';
COMMENT ON COLUMN reconcile_run.dry_run IS 'nothing is changed: the counts say what would be';
COMMENT ON COLUMN reconcile_run.scheduled IS 'the schedule asked, not a person';
COMMENT ON COLUMN reconcile_run.requested_at IS 'when it was asked for';
COMMENT ON COLUMN reconcile_run.started_at IS 'when Terra was first asked';
COMMENT ON COLUMN reconcile_run.finished_at IS 'when it was over';
COMMENT ON COLUMN reconcile_run.state IS 'refused: so many users were gone that none was revoked; failed: the list was not read to its end';
COMMENT ON COLUMN reconcile_run.counts IS 'numbers of users, gaps and requests, by name';
COMMENT ON COLUMN reconcile_run.reason IS 'why it failed or was refused';

-- --- recover

CREATE TABLE recovery (
    id           uuid PRIMARY KEY,
    environment  text,
    from_at      timestamptz NOT NULL,
    to_at        timestamptz NOT NULL,
    kinds        text NOT NULL,
    dry_run      boolean NOT NULL,
    actor        text NOT NULL,
    requested_at timestamptz NOT NULL,
    started_at   timestamptz,
    finished_at  timestamptz,
    state        text NOT NULL CHECK (state IN ('queued', 'counting', 'previewed', 'resending', 'arriving', 'fetching', 'complete', 'incomplete', 'failed')),
    progress     jsonb NOT NULL,
    reason       text
);
CREATE INDEX recovery_open ON recovery (requested_at) WHERE state IN ('queued', 'counting', 'resending', 'arriving', 'fetching');
COMMENT ON TABLE recovery IS 'getting back what was lost while we could not be reached';
COMMENT ON COLUMN recovery.id IS 'version 7, ordered by request';
COMMENT ON COLUMN recovery.environment IS 'Terra environment; null for all';
COMMENT ON COLUMN recovery.from_at IS 'beginning of the outage';
COMMENT ON COLUMN recovery.to_at IS 'end of the outage';
COMMENT ON COLUMN recovery.kinds IS 'Terra''s names of kinds, comma separated; empty for all';
COMMENT ON COLUMN recovery.dry_run IS 'count and say what it would cost, nothing more';
COMMENT ON COLUMN recovery.actor IS 'who asked for it';
COMMENT ON COLUMN recovery.requested_at IS 'when it was asked for';
COMMENT ON COLUMN recovery.started_at IS 'when Terra was first asked';
COMMENT ON COLUMN recovery.finished_at IS 'when it was over';
COMMENT ON COLUMN recovery.state IS 'the step it is at; whoever takes over goes on from there';
COMMENT ON COLUMN recovery.progress IS 'what was found and what the step has come to, by name';
COMMENT ON COLUMN recovery.reason IS 'why it failed';

CREATE TABLE recovery_event (
    recovery_id   uuid NOT NULL,
    environment   text NOT NULL,
    event_id      text NOT NULL,
    event_type    text NOT NULL,
    terra_user_id text NOT NULL,
    sent_at       timestamptz NOT NULL,
    state         text NOT NULL CHECK (state IN ('pending', 'resent', 'arrived', 'lost')),
    resent_at     timestamptz,
    attempts      integer NOT NULL CHECK (attempts >= 0),
    PRIMARY KEY (recovery_id, environment, event_id)
);
COMMENT ON TABLE recovery_event IS 'events that Terra could not deliver, as its log has them';
COMMENT ON COLUMN recovery_event.recovery_id IS 'the recovery';
COMMENT ON COLUMN recovery_event.environment IS 'Terra environment';
COMMENT ON COLUMN recovery_event.event_id IS 'Terra''s id of the event';
COMMENT ON COLUMN recovery_event.event_type IS 'Terra''s name of the event';
COMMENT ON COLUMN recovery_event.terra_user_id IS 'whose it is; empty where it is nobody''s';
COMMENT ON COLUMN recovery_event.sent_at IS 'when Terra tried to deliver it';
COMMENT ON COLUMN recovery_event.state IS 'lost: Terra cannot send it again, or it did not arrive';
COMMENT ON COLUMN recovery_event.resent_at IS 'when Terra was last asked to send it again';
COMMENT ON COLUMN recovery_event.attempts IS 'how often Terra was asked to send it again';

CREATE TABLE recovery_job (
    recovery_id uuid NOT NULL,
    job_id      uuid NOT NULL,
    PRIMARY KEY (recovery_id, job_id)
);
COMMENT ON TABLE recovery_job IS 'requests for data that cover what could not be sent again';
COMMENT ON COLUMN recovery_job.recovery_id IS 'the recovery';
COMMENT ON COLUMN recovery_job.job_id IS 'the fetch job';
