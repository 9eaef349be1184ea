-- Tries that ended with the death of their worker.

ALTER TABLE delivery ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0); -- tries in a row whose worker did not come back; 0 once one came to an end
