-- Events and their delivery. Numbers of events are per queue, without gaps, in the order of their
-- commits.

-- A queue: 0 is that of the installation, the others belong to bindings.
CREATE TABLE event_queues (
    -- 0, or the store's revision when the binding was created.
    queue_id    BIGINT NOT NULL PRIMARY KEY,
    binding_id  TEXT UNIQUE REFERENCES service_bindings (binding_id) ON DELETE CASCADE,
    -- The last number. Also the number of events ever accepted.
    last_seq    BIGINT NOT NULL,
    -- Every event up to it has expired.
    expired_seq BIGINT NOT NULL,
    -- Every scraper has every event up to it, or the event has expired. May lag behind.
    floor_seq   BIGINT NOT NULL,
    -- Every event up to it was deleted.
    deleted_seq BIGINT NOT NULL
);
INSERT INTO event_queues VALUES (0, NULL, 0, 0, 0, 0);

CREATE TABLE events (
    queue_id    BIGINT NOT NULL REFERENCES event_queues (queue_id) ON DELETE CASCADE,
    seq         BIGINT NOT NULL,
    -- First 16 bytes of the SHA-256 of labels, in hex.
    series      TEXT   NOT NULL,
    -- A JSON object, names sorted, with the labels of the app: a repeat must have equal labels.
    labels      TEXT   NOT NULL,
    -- As in an exposition: 1, 1e-9, NaN, +Inf.
    value       TEXT   NOT NULL,
    -- Milliseconds since 1970. Unique and ascending per series: the timestamp of mode A.
    sample_at   BIGINT NOT NULL,
    -- Milliseconds since 1970, of the database's clock.
    received_at BIGINT NOT NULL,
    -- 1: a scraper had not got it when it expired, or there was no scraper.
    missed      BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (queue_id, seq)
);

-- One row per label set: counters of mode C, the last timestamp, and the limit of new series.
CREATE TABLE event_series (
    queue_id  BIGINT NOT NULL REFERENCES event_queues (queue_id) ON DELETE CASCADE,
    series    TEXT   NOT NULL,
    labels    TEXT   NOT NULL,
    events    BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    sample_at BIGINT NOT NULL,
    last_at   BIGINT NOT NULL,
    PRIMARY KEY (queue_id, series)
);

CREATE TABLE event_scrapers (
    queue_id       BIGINT NOT NULL REFERENCES event_queues (queue_id) ON DELETE CASCADE,
    name           TEXT   NOT NULL,
    -- Events up to it are acknowledged, expired or deferred.
    position       BIGINT NOT NULL,
    -- JSON: events up to the position that are not delivered yet.
    deferred       TEXT   NOT NULL,
    -- With explicit timestamps: events up to it are not repeated any more. Else the position.
    held           BIGINT NOT NULL,
    -- 0, or the number of the batch in flight, and what columns above become with it.
    batch          BIGINT NOT NULL,
    batch_position BIGINT NOT NULL,
    batch_deferred TEXT   NOT NULL,
    batch_until    BIGINT NOT NULL,
    batch_replica  TEXT   NOT NULL,
    -- Increases with each change.
    version        BIGINT NOT NULL,
    last_seen      BIGINT NOT NULL,
    PRIMARY KEY (queue_id, name)
);

-- Repeated requests find what the first one stored.
CREATE TABLE event_keys (
    queue_id   BIGINT NOT NULL REFERENCES event_queues (queue_id) ON DELETE CASCADE,
    request_key TEXT NOT NULL,
    digest     TEXT   NOT NULL,
    first_seq  BIGINT NOT NULL,
    events     BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (queue_id, request_key)
);
