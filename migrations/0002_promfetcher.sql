-- The move from promfetcher, which kept no instances, services or plans.

-- Bindings of its `app_endpoints`: an app, and how it is scraped.
CREATE TABLE imported_bindings (
    binding_id TEXT   NOT NULL PRIMARY KEY,
    app_guid   TEXT   NOT NULL,
    parameters TEXT   NOT NULL,
    token_hash TEXT   NOT NULL,
    -- 1 when the platform has removed it: the next import must not bring it back.
    removed    BIGINT NOT NULL,
    -- The store's revision when it was imported.
    revision   BIGINT NOT NULL
);

-- Instances that were removed while unknown ones are adopted: these are known.
CREATE TABLE departed_instances (
    instance_id TEXT NOT NULL PRIMARY KEY
);
