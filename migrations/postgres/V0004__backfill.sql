-- Expand: why a job was made, and which wish it belongs to. A binary made for an earlier level leaves the new columns to
-- their defaults.

ALTER TABLE fetch_job ADD COLUMN origin text NOT NULL DEFAULT 'connect' CHECK (origin IN ('request', 'order', 'missing', 'connect', 'recover', 'reconcile'));
ALTER TABLE fetch_job ADD COLUMN priority smallint NOT NULL DEFAULT 1;
ALTER TABLE fetch_job ADD COLUMN backfill_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
COMMENT ON COLUMN fetch_job.origin IS 'why it was made';
COMMENT ON COLUMN fetch_job.priority IS 'smaller goes first; 0 is what somebody waits for';
COMMENT ON COLUMN fetch_job.backfill_id IS 'the wish it was made for; nil where it is older than wishes are';
