//! `/pools`: the state of all query pools.

use super::{Pools, status::PoolStatus};
use crate::http::{
    query::{Problem, PrometheusError},
    ui::{self, Layout, Section, Viewer, format},
};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct PoolList {
    pools: Vec<PoolStatus>,
}

#[derive(Template)]
#[template(path = "pools.html")]
struct PoolsPage<'a> {
    layout: Layout<'a>,
    pools: &'a [PoolStatus],
}

/// For operators, because a pool contains the metrics of all apps.
pub(super) async fn show(request: HttpRequest, state: web::Data<Pools>) -> HttpResponse {
    let answered: Result<_, Problem> = async {
        state.access.operator(&request).await?;
        let pools = state.pools.iter();
        let pools =
            pools.map(|pool| PoolStatus::new(pool, &state.metrics, state.started)).collect();
        let list = PoolList { pools };
        let layout = Layout::new(state.base_url.path(), Section::Pools, Viewer::Operator);
        Ok(ui::respond(&request, &PoolsPage { layout, pools: &list.pools }, &list))
    }
    .await;
    answered.unwrap_or_else(|problem| PrometheusError { problem, is_api: false }.response())
}
