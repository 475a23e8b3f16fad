-- Updates that were refused although Tsuru keeps what they asked for, so that its next update
-- asks for it again.
CREATE TABLE tsuru_refused_updates (
    instance_id TEXT NOT NULL PRIMARY KEY
        REFERENCES service_instances (instance_id) ON DELETE CASCADE,
    -- Plan and parameters, sealed.
    request     TEXT NOT NULL
);
