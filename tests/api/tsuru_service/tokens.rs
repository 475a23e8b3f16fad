//! Tokens for Tsuru bindings. Bindings have names instead of IDs in Tsuru, and their tokens have a
//! random part.

use super::client::*;

const M: &str = "/metrics/resources/m";
const JOB: &str = "/metrics/resources/m/binds/jobs/nightly";

fn is_good(api: &Api, token: &str) -> bool {
    api.broker.binding_table().scope_of_token(token).is_some()
}

async fn bound_app(api: &Api) -> String {
    let bound = api.post(&format!("{M}/bind-app"), "app-name=shop&app-hosts=h").await;
    assert!([200, 201].contains(&bound.status), "{}", bound.text);
    bound.variable("METRICS_TOKEN")
}

async fn bound_job(api: &Api) -> String {
    let bound = api.put(JOB, "job-name=nightly").await;
    assert!([200, 201].contains(&bound.status), "{}", bound.text);
    bound.variable("METRICS_TOKEN")
}

/// After an unbind that failed in Tsuru, Tsuru binds again and the app keeps its variables.
#[actix_web::test]
async fn a_bind_right_after_an_unbind_gets_the_same_token() {
    on_both(async |api| {
        api.created("m").await;
        let (app, job) = (bound_app(&api).await, bound_job(&api).await);
        assert_ne!(app, job);
        for _ in 0..2 {
            let unbound = api.delete(&format!("{M}/bind-app"), "app-name=shop").await;
            assert_eq!(unbound.status, 200);
            assert_eq!(api.delete(JOB, "").await.status, 200);
            assert!(!is_good(&api, &app) && !is_good(&api, &job));
            assert_eq!((bound_app(&api).await, bound_job(&api).await), (app.clone(), job.clone()));
            assert!(is_good(&api, &app) && is_good(&api, &job));
        }
    })
    .await;
}

#[actix_web::test]
async fn a_recreated_instance_with_the_same_name_has_other_tokens() {
    on_both(async |api| {
        api.created("m").await;
        let (app, job) = (bound_app(&api).await, bound_job(&api).await);
        // The app is unbound first. The binding of the job is removed with the instance.
        assert_eq!(api.delete(&format!("{M}/bind-app"), "app-name=shop").await.status, 200);
        assert_eq!(api.delete(M, "").await.status, 200);
        api.created("m").await;
        let (new_app, new_job) = (bound_app(&api).await, bound_job(&api).await);
        assert!(new_app != app && new_job != job);
        assert!(!is_good(&api, &app) && !is_good(&api, &job));
        assert!(is_good(&api, &new_app) && is_good(&api, &new_job));
    })
    .await;
}
