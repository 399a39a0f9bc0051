//! Keys. They are made up, in the platform's form, shown once and not kept: they open nothing here.

use super::input::{Fields, NAME};
use super::{Answer, moment};
use crate::server::filter;
use crate::server::http::Problem;
use axum::Json;
use axum::extract::{Path, Request};
use serde_json::json;

/// `<prefix>_<24 letters and digits>_<64 letters and digits>`; the first part is the key's id.
fn made_up(prefix: &str) -> (String, String) {
    let digits = || uuid::Uuid::new_v4().simple().to_string();
    let id: String = digits().chars().take(24).collect();
    let secret = format!("{}{}", digits(), digits());
    (format!("{prefix}_{id}_{secret}"), id)
}

/// `POST /v1/projects/{project_id}/fine_grained_api_keys`.
pub(super) async fn data_plane(Path(project): Path<String>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let name = fields.need_filled("name", NAME)?;
    let description = fields.text("description")?;
    let permissions = fields.texts("permissions")?;
    let permissions = permissions.ok_or_else(|| Problem::bad("permissions is required"))?;
    let expires = fields.need_filled("expires_at", 100)?;
    let Some(at) = filter::time(&expires) else {
        return Err(fields.wrong("expires_at", "a date and time, as 2026-01-31T12:00:00Z"));
    };
    let (value, id) = made_up("hh_fgdp");
    let data = json!({
        "key_id": id,
        "name": name,
        "description": description,
        "permissions": permissions,
        "root_scope_type": "project",
        "root_scope_id": project,
        "expires_at": moment(at),
        "key_value": value,
    });
    Ok(Json(json!({"success": true, "data": data})))
}

/// `POST /v1/projects/{project_id}/ingestion_api_keys`.
pub(super) async fn ingestion(Path(project): Path<String>, request: Request) -> Answer {
    let mut fields = Fields::read(request).await?;
    let name = fields.need_filled("name", NAME)?;
    let description = fields.text("description")?;
    let (value, id) = made_up("hh_ingst");
    let data = json!({
        "key_id": id,
        "name": name,
        "description": description,
        "root_scope_type": "project",
        "root_scope_id": project,
        "key_value": value,
    });
    Ok(Json(json!({"success": true, "data": data})))
}
