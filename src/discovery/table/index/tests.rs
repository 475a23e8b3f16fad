use super::*;
use crate::discovery::{document::Entry, parse};
use proptest::prelude::*;
use serde_json::json;

/// An endpoint of app `app` on `port` with instance id `id` and a name that depends on `name`.
fn endpoint((app, port, id, name): (u8, u16, u8, u8)) -> Arc<Endpoint> {
    let tags = json!({
        "app_id": format!("app{app}"),
        "app_name": format!("name{name}"),
        "space_name": "space",
        "organization_name": if name == 0 { "" } else { "org" },
        "process_instance_id": format!("i{id}"),
        "instance_id": id.to_string(),
    });
    let table = json!({"r": [{"address": format!("10.0.0.1:{port}"), "tags": tags}]});
    let table = parse(table.to_string().as_bytes()).unwrap();
    table.entries[0].endpoint.clone().unwrap()
}

/// All results of an index as text.
fn dump(index: &Index) -> String {
    let addresses = |endpoints: &[Arc<Endpoint>]| {
        endpoints.iter().map(|e| format!("{}/{}", e.address, e.app.name)).collect::<Vec<_>>()
    };
    let routes: Vec<_> =
        index.routes().iter().map(|r| (r.key.to_string(), addresses(r.endpoints()))).collect();
    let app = |entry: &AppEntry| {
        let routes: Vec<_> = entry.routes().map(str::to_owned).collect();
        let host = entry.host().map(str::to_owned);
        (
            entry.app.id.to_string(),
            entry.app.name.to_string(),
            addresses(entry.instances()),
            routes,
            host,
        )
    };
    let apps: Vec<_> = index.apps().iter().map(|entry| app(entry)).collect();
    let by_guid: Vec<_> = (0..4).map(|n| index.app(&format!("app{n}")).map(app)).collect();
    let named = |n| index.named(&format!("org/space/name{n}")).map(app).collect::<Vec<_>>();
    let by_name: Vec<_> = (0..3).map(named).collect();
    let keys = ["r0", "r1/p", "r1/p/q/s", "r2/x", "*.w", "a.b.w"];
    let found: Vec<_> = keys.map(|key| index.route(key).map(|r| r.key.to_string())).into();
    format!(
        "{routes:?}\n{apps:?}\n{by_guid:?}\n{by_name:?}\n{found:?}\n{:?} {:?}",
        index.size(),
        index.depths
    )
}

proptest! {
    #[test]
    fn an_updated_index_equals_one_built_from_scratch(
        steps in prop::collection::vec(
            (0usize..6, prop::option::of(prop::collection::vec((0u8..4, 1u16..5, 0u8..4, 0u8..3), 0..4))),
            1..30,
        )
    ) {
        let routes = ["r0", "r1", "r1/p", "r1/p/q", "*.w", "r2"];
        let mut model: BTreeMap<&str, Vec<Arc<Endpoint>>> = BTreeMap::new();
        let mut index = Index::default();
        for (route, change) in steps {
            let route = routes[route];
            let mut endpoints: Option<Vec<_>> = change.map(|change| change.into_iter().map(endpoint).collect());
            if let Some(endpoints) = &mut endpoints {
                // As in a report: one endpoint per address, ordered.
                endpoints.sort_by_key(|endpoint| endpoint.address);
                endpoints.dedup_by_key(|endpoint| endpoint.address);
            }
            match &endpoints {
                Some(endpoints) => drop(model.insert(route, endpoints.clone())),
                None => drop(model.remove(route)),
            }
            let before = dump(&index);
            let next = index.updated([RouteUpdate { route: route.into(), endpoints }]);
            prop_assert_eq!(before, dump(&index), "the previous index does not change");
            index = next;
            let entries: Vec<Entry> = model.iter().flat_map(|(route, endpoints)| {
                let route: Arc<str> = (*route).into();
                let none = endpoints.is_empty().then_some(None);
                let all = endpoints.iter().cloned().map(Some).chain(none).collect::<Vec<_>>();
                all.into_iter().map(move |endpoint| Entry { route: Arc::clone(&route), endpoint })
            }).collect();
            prop_assert_eq!(dump(&index), dump(&Index::build(&entries)));
        }
    }
}
