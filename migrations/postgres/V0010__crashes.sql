-- Tries that ended with the death of their worker.

ALTER TABLE delivery ADD COLUMN crashes integer NOT NULL DEFAULT 0 CHECK (crashes >= 0);
COMMENT ON COLUMN delivery.crashes IS 'tries in a row, each alone or in company, whose worker did not come back; 0 once one came to an end';
