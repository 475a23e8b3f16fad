-- Service instances and bindings, as the platform asked for them.
--
-- Runs on SQLite and PostgreSQL, so the only types are TEXT and BIGINT.
-- Parameters may be secrets: they are sealed (encrypted, base64) before they
-- come here, and of a token only a hash is kept.

-- One row about the whole store.
CREATE TABLE store_state (
    id              BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Random, set by the first process that uses the store; another one means
    -- that the database was replaced.
    store_id        TEXT   NOT NULL,
    -- Counts changes, so that a replica sees whether it is up to date.
    revision        BIGINT NOT NULL,
    -- Recognizes the key that seals the secrets; empty until the first use.
    key_fingerprint TEXT   NOT NULL
);
INSERT INTO store_state (id, store_id, revision, key_fingerprint) VALUES (1, '', 0, '');

CREATE TABLE service_instances (
    instance_id         TEXT NOT NULL PRIMARY KEY,
    service_id          TEXT NOT NULL,
    plan_id             TEXT NOT NULL,
    organization_guid   TEXT NOT NULL,
    space_guid          TEXT NOT NULL,
    -- Names are for the operator's eyes only; they change without our knowing.
    organization_name   TEXT,
    space_name          TEXT,
    instance_name       TEXT,
    maintenance_version TEXT,
    parameters          TEXT NOT NULL
);

CREATE TABLE service_bindings (
    binding_id     TEXT   NOT NULL PRIMARY KEY,
    instance_id    TEXT   NOT NULL REFERENCES service_instances (instance_id) ON DELETE CASCADE,
    service_id     TEXT   NOT NULL,
    plan_id        TEXT   NOT NULL,
    -- The bound app; none for a service key.
    app_guid       TEXT,
    -- The space of the instance, which is what a service key may scrape.
    space_guid     TEXT   NOT NULL,
    parameters     TEXT   NOT NULL,
    token_hash     TEXT   NOT NULL,
    -- The binding that this one succeeds (rotation), which may be gone.
    predecessor_id TEXT,
    -- The store's revision when it was made: the newest binding of an app wins.
    revision       BIGINT NOT NULL
);
CREATE INDEX service_bindings_by_instance ON service_bindings (instance_id);
