-- Expand: the end of a person's data: erasures, the tombstones they leave, and payloads that nothing needs any more.

-- Erasures of people, and how far each is; names nobody.
CREATE TABLE erasure (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),                      -- version 7, ordered by request
    scope        TEXT NOT NULL CHECK (scope IN ('user', 'connection')),         -- user: everything of a person; connection: one connection that was closed
    cause        TEXT NOT NULL CHECK (cause IN ('request', 'deauth')),          -- request: somebody asked for it; deauth: the settings ask for it
    actor        TEXT NOT NULL,                                                 -- who asked for it
    requested_at INTEGER NOT NULL,                                              -- nothing that Terra sent before then is taken any more, ms
    erased_at    INTEGER,                                                       -- when the last row was gone, ms
    finished_at  INTEGER,                                                       -- when Terra had agreed as well, ms
    look_at      INTEGER NOT NULL,                                              -- due to go on, ms
    state        TEXT NOT NULL CHECK (state IN ('erasing', 'telling', 'done')), -- erasing: rows are being deleted; telling: Terra has not agreed yet
    progress     TEXT NOT NULL,                                                 -- JSON: what was erased, as numbers, and how far the search through deliveries is
    reason       TEXT,                                                          -- why Terra has not agreed yet
    event_id     BLOB NOT NULL CHECK (length(event_id) = 16)                    -- the event that tells the company's services; its subject goes after 30 days
) STRICT;
CREATE INDEX erasure_open ON erasure (look_at) WHERE state <> 'done';

-- Whom an erasure under way is about: the only place that still names them, empty once it is done.
CREATE TABLE erasure_target (
    erasure_id  BLOB NOT NULL CHECK (length(erasure_id) = 16),                  -- the erasure
    kind        TEXT NOT NULL CHECK (kind IN ('alias', 'reference', 'user', 'connection', 'partner')), -- what the name is: a Terra user id, a reference, an internal user, a connection, or the Terra user id of somebody else whose history names an erased one
    environment TEXT NOT NULL,                                                  -- Terra environment; empty for a user and a connection
    name        TEXT NOT NULL,                                                  -- the name itself
    is_erased   INTEGER NOT NULL CHECK (is_erased IN (0, 1)),                   -- nothing of it is left
    is_told     INTEGER NOT NULL CHECK (is_told IN (0, 1)),                     -- Terra agreed, knows nobody by this name, or need not be told
    PRIMARY KEY (erasure_id, kind, environment, name)
) STRICT, WITHOUT ROWID;

-- Who was erased: what comes of them later is dropped. For good.
CREATE TABLE tombstone (
    digest     BLOB PRIMARY KEY CHECK (length(digest) = 32),                    -- SHA-256 of environment and Terra user id, or of environment and reference
    erasure_id BLOB NOT NULL CHECK (length(erasure_id) = 16),                   -- the erasure that left it
    erased     BLOB NOT NULL CHECK (length(erased) = 16),                       -- order of the erasure
    reopened   BLOB CHECK (length(reopened) = 16)                               -- order of the connect with which the person came back; null while they did not
) STRICT, WITHOUT ROWID;

-- Objects of the payload store that go, once the transaction that let go of them is committed.
CREATE TABLE unneeded_payload (
    id        INTEGER PRIMARY KEY,                                              -- in the order of letting go
    kind      TEXT,                                                             -- of the record whose document it was or was to be: the object stays if that record points to it; null for a delivery's
    record_id BLOB CHECK (length(record_id) = 16),                              -- that record
    pointer   BLOB NOT NULL                                                     -- the sealed pointer
) STRICT;

-- A constraint cannot be altered; this only lets more rows in, so what is there fits.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '''quarantined'', ''retry''', '''quarantined'', ''erased'', ''retry''')
 WHERE type = 'table' AND name = 'delivery';
PRAGMA writable_schema = RESET;

-- What an erasure looks for.
CREATE INDEX delivery_nameless ON delivery (id) WHERE terra_user_id IS NULL AND outcome <> 'erased';
CREATE INDEX event_alias ON event (environment, terra_user_id);
CREATE INDEX event_nameless ON event (sequence) WHERE terra_user_id IS NULL;
CREATE INDEX auth_event_reference ON auth_event (environment, reference_id);
CREATE INDEX recovery_event_alias ON recovery_event (environment, terra_user_id);
CREATE INDEX alias_closed ON alias (closed) WHERE closed IS NOT NULL;
