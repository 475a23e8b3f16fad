-- A Prometheus of one's own: what should be, what is to be done, and what is.
--
-- Who writes what: the broker writes what should be and orders operations, in
-- one transaction with the service instance; the loop that carries them out
-- writes how they end, and what there is.

-- What the Prometheus of a service instance should be like.
CREATE TABLE prometheus_instances (
    instance_id TEXT   NOT NULL PRIMARY KEY
        REFERENCES service_instances (instance_id) ON DELETE CASCADE,
    -- For the quota of a space.
    space_guid  TEXT   NOT NULL,
    -- How many there are to be, which take a port each.
    replicas    BIGINT NOT NULL,
    -- Sealed, since it may hold credentials.
    spec        TEXT   NOT NULL
);

-- The last operation on a service instance that takes longer than a request.
CREATE TABLE operations (
    instance_id  TEXT   NOT NULL PRIMARY KEY
        REFERENCES service_instances (instance_id) ON DELETE CASCADE,
    operation_id TEXT   NOT NULL,
    -- provision, update or deprovision.
    kind         TEXT   NOT NULL,
    -- in progress, succeeded or failed.
    state        TEXT   NOT NULL,
    -- What people are told: how far it is, or why it failed.
    description  TEXT   NOT NULL,
    -- Milliseconds since 1970, of the clock of who ordered it.
    started_at   BIGINT NOT NULL,
    -- What an update that fails goes back to.
    before_plan_id    TEXT,
    before_parameters TEXT,
    before_spec       TEXT,
    before_replicas   BIGINT
);

-- What there is, and how it does.
CREATE TABLE prometheus_replicas (
    instance_id TEXT   NOT NULL
        REFERENCES service_instances (instance_id) ON DELETE CASCADE,
    replica     BIGINT NOT NULL,
    -- Where its API is, without a slash at its end; empty while it has no place.
    url         TEXT   NOT NULL,
    -- starting, ready or failed.
    state       TEXT   NOT NULL,
    -- Why it is not ready; empty when it is.
    problem     TEXT   NOT NULL,
    PRIMARY KEY (instance_id, replica)
);

-- Which replica of ours carries operations out, where several share a database.
CREATE TABLE leases (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    -- Milliseconds since 1970, of the clock of the holder.
    expires_at BIGINT NOT NULL
);
