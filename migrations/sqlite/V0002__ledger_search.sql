-- Expand: indexes that searching the ledger uses; a binary made for level 1 works with and without them.

CREATE INDEX delivery_trace ON delivery (trace_id);
CREATE INDEX delivery_alias ON delivery (terra_user_id, id);
