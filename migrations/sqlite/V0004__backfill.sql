-- Expand: why a job was made, and which wish it belongs to. A binary made for an earlier level leaves the new columns to
-- their defaults.

-- why it was made
ALTER TABLE fetch_job ADD COLUMN origin TEXT NOT NULL DEFAULT 'connect' CHECK (origin IN ('request', 'order', 'missing', 'connect', 'recover', 'reconcile'));
-- smaller goes first; 0 is what somebody waits for
ALTER TABLE fetch_job ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
-- the wish it was made for; nil where it is older than wishes are
ALTER TABLE fetch_job ADD COLUMN backfill_id BLOB NOT NULL DEFAULT x'00000000000000000000000000000000' CHECK (length(backfill_id) = 16);
