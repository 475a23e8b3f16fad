-- What Tsuru told of an app when it was bound: its API names no such thing as a
-- binding, and without a token for it this is all that is known of the app.
CREATE TABLE tsuru_apps (
    binding_id TEXT NOT NULL PRIMARY KEY REFERENCES service_bindings (binding_id) ON DELETE CASCADE,
    app        TEXT NOT NULL,
    team       TEXT NOT NULL,
    -- Empty when Tsuru did not tell.
    pool       TEXT NOT NULL,
    -- A JSON list of addresses.
    hosts      TEXT NOT NULL
);
