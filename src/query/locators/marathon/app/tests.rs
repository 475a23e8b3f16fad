use super::*;
use serde_json::{Value, json};

fn addresses(app: Value, port_index: usize) -> TaskAddresses {
    let document: AppDocument = serde_json::from_value(json!({ "app": app })).unwrap();
    document.app.addresses(port_index)
}

fn address(host: &str, port: u16) -> (String, u16) {
    (host.to_owned(), port)
}

fn task(fields: Value) -> Value {
    let mut task = json!({ "host": "a1", "ports": [31000, 31001], "state": "TASK_RUNNING" });
    task.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    task
}

#[test]
fn only_running_tasks_are_used() {
    let states = ["TASK_STAGING", "TASK_STARTING", "TASK_KILLING", "TASK_UNREACHABLE", "TASK_LOST"];
    let mut tasks: Vec<_> = states.iter().map(|state| task(json!({ "state": state }))).collect();
    tasks.push(task(json!({ "host": "a2" })));
    let found = addresses(json!({ "tasks": tasks }), 0);
    assert_eq!(found.usable, [address("a2", 31000)]);
    assert_eq!(found.unused.not_running, states.len());

    let old = [
        json!({ "host": "a1", "ports": [31000], "stagedAt": "2014-09-12T23:28:28Z" }),
        json!({ "host": "a2", "ports": [31000], "startedAt": null }),
        json!({ "host": "a3", "ports": [31000], "startedAt": "2014-09-13T00:24:46Z" }),
    ];
    let found = addresses(json!({ "tasks": old }), 0);
    assert_eq!(found.usable, [address("a3", 31000)], "old versions report no state");
    assert_eq!(found.unused.to_string(), "tasks: 2 not running");
}

#[test]
fn tasks_of_an_app_with_health_checks_need_good_results() {
    let tasks = [
        task(json!({ "host": "none" })),
        task(json!({ "host": "empty", "healthCheckResults": [] })),
        task(json!({ "host": "null", "healthCheckResults": [null] })),
        task(
            json!({ "host": "bad", "healthCheckResults": [{ "alive": true }, { "alive": false }] }),
        ),
        task(json!({ "host": "good", "healthCheckResults": [{ "alive": true }] })),
        task(json!({ "host": "half", "healthCheckResults": [{ "alive": true }, null] })),
    ];
    let checked = addresses(json!({ "tasks": tasks, "healthChecks": [{}, {}] }), 0);
    assert_eq!(checked.usable, [address("good", 31000), address("half", 31000)]);
    assert_eq!(checked.unused, UnusedTasks { not_healthy: 4, ..UnusedTasks::default() });
    for health_checks in [json!([]), json!(null)] {
        let unchecked = addresses(json!({ "tasks": tasks, "healthChecks": health_checks }), 0);
        assert_eq!(unchecked.usable.len(), tasks.len());
    }
}

#[test]
fn a_task_without_a_usable_port_is_skipped() {
    let tasks = [
        task(json!({ "ports": [] })),
        task(json!({ "ports": null })),
        task(json!({ "ports": [0] })),
        task(json!({ "ports": [65536] })),
        task(json!({ "host": null })),
        task(json!({ "ports": [31000] })),
    ];
    let found = addresses(json!({ "tasks": tasks }), 0);
    assert_eq!(found.usable, [address("a1", 31000)]);
    assert_eq!(found.unused.to_string(), "tasks: 5 without a usable port");
    assert_eq!(addresses(json!({ "tasks": [task(json!({}))] }), 1).usable, [address("a1", 31001)]);
    assert_eq!(addresses(json!({ "tasks": [task(json!({}))] }), 2).unused.without_port, 1);
    assert_eq!(addresses(json!({ "tasks": [] }), 0).unused.to_string(), "no tasks");
}

#[test]
fn tasks_in_a_container_network_have_ports_of_the_container() {
    let ips = json!([{ "ipAddress": "9.0.0.1", "protocol": "IPv4" }]);
    let own = task(json!({ "ports": [], "ipAddresses": ips }));
    let mapped = json!([{ "containerPort": 9090, "hostPort": null }]);
    let apps = [
        json!({ "networks": [{ "mode": "container", "name": "dcos" }], "container": { "portMappings": mapped } }),
        json!({ "container": { "docker": { "network": "USER", "portMappings": mapped } } }),
        json!({ "ipAddress": { "discovery": { "ports": [{ "number": 9090, "name": "web" }] } } }),
        json!({ "ipAddress": { "networkName": "dcos", "discovery": null }, "container": { "docker": { "network": "USER", "portMappings": mapped }, "portMappings": null } }),
    ];
    for mut app in apps {
        app["tasks"] = json!([own]);
        assert_eq!(addresses(app.clone(), 0).usable, [address("9.0.0.1", 9090)], "{app}");
        assert_eq!(addresses(app, 1).unused.without_port, 1);
    }

    let no_port = json!({ "tasks": [own], "networks": [{ "mode": "container" }], "portDefinitions": [{ "port": 10000 }] });
    assert_eq!(addresses(no_port, 0).unused.without_port, 1);
    let no_address = json!({ "tasks": [task(json!({ "ports": [], "ipAddresses": [] }))], "networks": [{ "mode": "container" }], "container": { "portMappings": mapped } });
    assert_eq!(addresses(no_address, 0).unused.without_port, 1);
    let on_host = json!({ "tasks": [task(json!({ "ports": [], "ipAddresses": ips }))], "networks": [{ "mode": "host" }], "portDefinitions": [{ "port": 9090 }] });
    assert_eq!(addresses(on_host, 0).unused.without_port, 1, "the address is that of the host");
}

#[test]
fn ports_of_the_host_precede_those_of_the_container() {
    let mut app = json!({
        "tasks": [task(json!({ "ports": [31005], "ipAddresses": [{ "ipAddress": "9.0.0.1" }] }))],
        "networks": [{ "mode": "container" }],
        "container": { "portMappings": [{ "containerPort": 80 }, { "containerPort": 9090, "hostPort": 0 }] },
    });
    assert_eq!(addresses(app.clone(), 0).usable, [address("9.0.0.1", 80)]);
    assert_eq!(addresses(app.clone(), 1).usable, [address("a1", 31005)]);

    app["networks"] = json!([{ "mode": "container/bridge" }]);
    app["tasks"] = json!([task(json!({}))]);
    assert_eq!(addresses(app, 1).usable, [address("a1", 31001)]);
}

#[test]
fn a_document_that_is_not_an_app_is_rejected() {
    for json in [
        json!({}),
        json!({ "app": null }),
        json!({ "app": {} }),
        json!({ "app": { "tasks": {} } }),
        json!({ "app": { "tasks": [[]] } }),
        json!({ "app": { "tasks": [{ "host": 1 }] } }),
        json!({ "apps": [] }),
    ] {
        assert!(serde_json::from_value::<AppDocument>(json.clone()).is_err(), "{json}");
    }
}
