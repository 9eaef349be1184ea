-- Expand: requests whose signature failed.

-- Nothing in them is proved to be Terra's.
CREATE TABLE quarantine (
    id               BLOB PRIMARY KEY CHECK (length(id) = 16),                  -- version 7, ordered by the first time it was seen
    fingerprint      BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32),     -- equal for what counts as the same request: its bytes, address and what the door refused it for
    first_seen       INTEGER NOT NULL,                                          -- when it first came, ms
    last_seen        INTEGER NOT NULL,                                          -- when it last came, ms
    seen             INTEGER NOT NULL CHECK (seen >= 1),                        -- how often it came
    address          TEXT,                                                      -- the Terra environment that its address names; null for the address of all
    part             TEXT NOT NULL CHECK (part IN ('header_missing', 'header_conflicting', 'header_malformed', 'time_future', 'time_stale', 'other_environment', 'body_changed', 'secret_or_body')), -- which part of the request is at fault
    fits_environment TEXT,                                                      -- the Terra environment whose secret fits after all
    change           TEXT CHECK (change IN ('blanks_added', 'line_break_lost', 'byte_order_mark_added', 'line_breaks_converted', 'reserialised', 'charset')), -- what was done to the body on its way, if undoing it makes the signature fit
    looks_like_terra INTEGER NOT NULL CHECK (looks_like_terra IN (0, 1)),       -- it has a header of Terra's and, where the body was read, an event of Terra's; others go first when there is no room
    signature        TEXT,                                                      -- the signature header, if well-formed; of the last time
    t_seconds        INTEGER,                                                   -- its time, seconds since the Unix epoch; unproved
    trace_id         TEXT,                                                      -- X-Terra-Trace-Id
    reference        TEXT,                                                      -- Terra-Reference
    ordering_ms      INTEGER,                                                   -- X-Terra-Ordering-Timestamp, ms since the Unix epoch
    type_name        TEXT,                                                      -- the event that the body claims to be
    terra_user_id    TEXT,                                                      -- the Terra user that the body claims to be about
    size_bytes       INTEGER CHECK (size_bytes >= 0),                           -- of the body, as read or announced
    held_bytes       INTEGER NOT NULL CHECK (held_bytes >= 0),                  -- what it takes of the space there is
    body             BLOB                                                       -- sealed; null where it was not read or is too large to keep
) STRICT;
CREATE INDEX quarantine_first_seen ON quarantine (first_seen);
-- Making room reads nothing else.
CREATE INDEX quarantine_room ON quarantine (looks_like_terra, first_seen, id, held_bytes);
CREATE INDEX quarantine_alias ON quarantine (terra_user_id);
