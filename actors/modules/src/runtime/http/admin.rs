//! Modules listed, loaded, unloaded and reloaded over HTTP.

use std::sync::Weak;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use umbel_http::Problem;

use crate::error::{LoadError, ReplaceError, UnloadError};
use crate::runtime::{Dependents, Runtime, Shared};
use crate::view::ModuleView;

/// Under which path the API is.
pub(super) const PREFIX: &str = "/modules";

/// `GET /modules`, `GET /modules/{name}`, and `POST` of `load`, `reload` and `unload` below that.
pub(super) fn router(runtime: Weak<Shared>) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/{module}", get(show))
        .route("/{module}/load", post(load))
        .route("/{module}/unload", post(unload))
        .route("/{module}/reload", post(reload))
        .with_state(Admin(runtime))
}

#[derive(Clone)]
struct Admin(Weak<Shared>);

impl Admin {
    fn runtime(&self) -> Result<Runtime, Problem> {
        let gone =
            || Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail("the runtime has stopped");
        Ok(Runtime { shared: self.0.upgrade().ok_or_else(gone)? })
    }

    fn view(&self, module: &str) -> Result<Json<ModuleView>, Problem> {
        let view = self.runtime()?.modules().into_iter().find(|view| view.name == module);
        let unknown = || {
            let detail = format!("there is no module '{module}'");
            Problem::new(StatusCode::NOT_FOUND).detail(detail)
        };
        view.map(Json).ok_or_else(unknown)
    }
}

async fn list(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let runtime = admin.runtime()?;
    Ok(Json(json!({ "runtime": runtime.name(), "modules": runtime.modules() })))
}

async fn show(
    State(admin): State<Admin>,
    Path(module): Path<String>,
) -> Result<Json<ModuleView>, Problem> {
    admin.view(&module)
}

async fn load(
    State(admin): State<Admin>,
    Path(module): Path<String>,
) -> Result<Json<ModuleView>, Problem> {
    admin.runtime()?.load_known(&module).await.map_err(|why| not_loaded(&why))?;
    admin.view(&module)
}

async fn reload(
    State(admin): State<Admin>,
    Path(module): Path<String>,
) -> Result<Json<ModuleView>, Problem> {
    let reloaded = admin.runtime()?.reload(&module).await;
    reloaded.map_err(|why| match &why {
        ReplaceError::Load(why) => not_loaded(why),
        ReplaceError::NotLoaded { .. } | ReplaceError::Restarting { .. } => {
            problem(StatusCode::CONFLICT, &why)
        }
        _ => problem(StatusCode::UNPROCESSABLE_ENTITY, &why),
    })?;
    admin.view(&module)
}

/// Whether those that require the module are unloaded as well.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unload {
    #[serde(default)]
    cascade: bool,
}

async fn unload(
    State(admin): State<Admin>,
    Path(module): Path<String>,
    Query(Unload { cascade }): Query<Unload>,
) -> Result<Json<Value>, Problem> {
    let dependents = if cascade { Dependents::Cascade } else { Dependents::Refuse };
    match admin.runtime()?.unload(&module, dependents).await {
        Ok(unloaded) => Ok(Json(json!({ "unloaded": unloaded }))),
        Err(why @ UnloadError::Stopped) => Err(problem(StatusCode::SERVICE_UNAVAILABLE, &why)),
        Err(why @ UnloadError::NotLoaded { .. }) => {
            // Or there is none of this name.
            let _ = admin.view(&module)?;
            Err(problem(StatusCode::CONFLICT, &why))
        }
        Err(why) => {
            let problem = problem(StatusCode::CONFLICT, &why);
            Err(match why {
                UnloadError::Required { dependents, .. } => problem
                    .with("dependents", json!(dependents))
                    .with("cascade", "?cascade=true".into()),
                _ => problem,
            })
        }
    }
}

fn not_loaded(why: &LoadError) -> Problem {
    let status = match why {
        LoadError::Unknown { .. } => StatusCode::NOT_FOUND,
        LoadError::Loaded { .. } | LoadError::Missing { .. } | LoadError::Overtaken { .. } => {
            StatusCode::CONFLICT
        }
        LoadError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    problem(status, why)
}

fn problem(status: StatusCode, why: &dyn std::error::Error) -> Problem {
    Problem::new(status).detail(why.to_string())
}
