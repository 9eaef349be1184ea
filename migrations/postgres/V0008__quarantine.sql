-- Expand: requests whose signature failed.

CREATE TABLE quarantine (
    id               uuid PRIMARY KEY,
    fingerprint      bytea NOT NULL UNIQUE CHECK (length(fingerprint) = 32),
    first_seen       timestamptz NOT NULL,
    last_seen        timestamptz NOT NULL,
    seen             bigint NOT NULL CHECK (seen >= 1),
    address          text,
    part             text NOT NULL CHECK (part IN ('header_missing', 'header_conflicting', 'header_malformed', 'time_future', 'time_stale', 'other_environment', 'body_changed', 'secret_or_body')),
    fits_environment text,
    change           text CHECK (change IN ('blanks_added', 'line_break_lost', 'byte_order_mark_added', 'line_breaks_converted', 'reserialised', 'charset')),
    looks_like_terra boolean NOT NULL,
    signature        text,
    t_seconds        bigint,
    trace_id         text,
    reference        text,
    ordering_ms      bigint,
    type_name        text,
    terra_user_id    text,
    size_bytes       bigint CHECK (size_bytes >= 0),
    held_bytes       bigint NOT NULL CHECK (held_bytes >= 0),
    body             bytea
);
CREATE INDEX quarantine_first_seen ON quarantine (first_seen);
-- Making room reads nothing else.
CREATE INDEX quarantine_room ON quarantine (looks_like_terra, first_seen, id, held_bytes);
CREATE INDEX quarantine_alias ON quarantine (terra_user_id);
COMMENT ON TABLE quarantine IS 'requests whose signature failed: nothing in them is proved to be Terra''s';
COMMENT ON COLUMN quarantine.id IS 'version 7, ordered by the first time it was seen';
COMMENT ON COLUMN quarantine.fingerprint IS 'equal for what counts as the same request: its bytes, address and what the door refused it for';
COMMENT ON COLUMN quarantine.first_seen IS 'when it first came';
COMMENT ON COLUMN quarantine.last_seen IS 'when it last came';
COMMENT ON COLUMN quarantine.seen IS 'how often it came';
COMMENT ON COLUMN quarantine.address IS 'the Terra environment that its address names; null for the address of all';
COMMENT ON COLUMN quarantine.part IS 'which part of the request is at fault';
COMMENT ON COLUMN quarantine.fits_environment IS 'the Terra environment whose secret fits after all';
COMMENT ON COLUMN quarantine.change IS 'what was done to the body on its way, if undoing it makes the signature fit';
COMMENT ON COLUMN quarantine.looks_like_terra IS 'it has a header of Terra''s and, where the body was read, an event of Terra''s; others go first when there is no room';
COMMENT ON COLUMN quarantine.signature IS 'the signature header, if well-formed; of the last time';
COMMENT ON COLUMN quarantine.t_seconds IS 'its time, seconds since the Unix epoch; unproved';
COMMENT ON COLUMN quarantine.trace_id IS 'X-Terra-Trace-Id';
COMMENT ON COLUMN quarantine.reference IS 'Terra-Reference';
COMMENT ON COLUMN quarantine.ordering_ms IS 'X-Terra-Ordering-Timestamp, ms since the Unix epoch';
COMMENT ON COLUMN quarantine.type_name IS 'the event that the body claims to be';
COMMENT ON COLUMN quarantine.terra_user_id IS 'the Terra user that the body claims to be about';
COMMENT ON COLUMN quarantine.size_bytes IS 'of the body, as read or announced';
COMMENT ON COLUMN quarantine.held_bytes IS 'what it takes of the space there is';
COMMENT ON COLUMN quarantine.body IS 'sealed; null where it was not read or is too large to keep';
