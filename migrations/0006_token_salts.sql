-- The random part of every token and password that is derived from an id, so
-- that an id that is used again gets another one. Rows of before have none:
-- what was derived of them stays good until they are removed.
ALTER TABLE service_bindings ADD COLUMN token_salt TEXT NOT NULL DEFAULT '';
ALTER TABLE imported_bindings ADD COLUMN token_salt TEXT NOT NULL DEFAULT '';
ALTER TABLE prometheus_instances ADD COLUMN secret_salt TEXT NOT NULL DEFAULT '';

-- Bindings that Tsuru has removed a moment ago. After an unbind that failed at
-- its side it binds again and leaves the app's environment as it was, so the
-- same bind has to get the same token.
CREATE TABLE unbound_tokens (
    binding_id  TEXT   NOT NULL PRIMARY KEY,
    instance_id TEXT   NOT NULL
        REFERENCES service_instances (instance_id) ON DELETE CASCADE,
    -- Of another space it is another bind.
    space_guid  TEXT   NOT NULL,
    token_salt  TEXT   NOT NULL,
    -- Milliseconds since 1970, of the database's clock.
    unbound_at  BIGINT NOT NULL
);
