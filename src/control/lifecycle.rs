//! What the control socket offers for the life of a cluster: backups, upgrades, packs.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use serverv2_machine::Rejection;
use serverv2_raft::{BackupError, ProposeError, UpgradeError};

use super::refusal::Refusal;
use crate::app::App;

/// The bytes of a backup's file. A body that ends early is no backup, which its reader notices.
pub(super) async fn backup(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let backup = app.cluster.backup().await.map_err(|error| {
        let text = error.to_string();
        match error {
            BackupError::Busy | BackupError::Stopped => Refusal::for_now("BACKUP_BUSY", text),
            BackupError::Storage(_) => Refusal::new("BACKUP_FAILED", text),
        }
    })?;
    let bytes = stream::unfold(backup, async |mut backup| {
        let next = backup.next().await?;
        Some((next.map(Bytes::from), backup))
    });
    let body = Body::from_stream(bytes);
    Ok(([(CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// The behaviour levels as a node knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LevelsState {
    pub(crate) in_force: u32,
    pub(crate) known_here: u32,
    /// The level that all members know, if it is a higher one.
    pub(crate) due: Option<u32>,
}

pub(super) async fn levels(State(app): State<Arc<App>>) -> Json<LevelsState> {
    Json(look(&app))
}

fn look(app: &App) -> LevelsState {
    let levels = app.cluster.levels();
    let due = levels.due();
    LevelsState { in_force: levels.in_force, known_here: levels.known_here, due }
}

pub(super) async fn upgrade(State(app): State<Arc<App>>) -> Result<Json<LevelsState>, Refusal> {
    app.cluster.upgrade().await.map_err(|error| refused(&error))?;
    Ok(Json(look(&app)))
}

/// Which pack is meant: its id, or the beginning of its digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WantedPack {
    pub(crate) pack: String,
}

/// The pack that new battles are played with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ActivePack {
    pub(crate) pack: String,
}

pub(super) async fn activate(
    State(app): State<Arc<App>>,
    Json(wanted): Json<WantedPack>,
) -> Result<Json<ActivePack>, Refusal> {
    let found = app.engines.find(&wanted.pack);
    let pack = found.map_err(|text| Refusal::new("PACK_UNKNOWN", text))?;
    app.cluster.activate_pack(pack.clone()).await.map_err(|error| refused(&error))?;
    Ok(Json(ActivePack { pack: pack.to_string() }))
}

fn refused(error: &UpgradeError) -> Refusal {
    let text = error.to_string();
    match error {
        UpgradeError::Away(_) => Refusal::for_now("NODE_AWAY", text),
        UpgradeError::Older { .. } => Refusal::new("NODE_OLDER", text),
        UpgradeError::LacksPack(_) => Refusal::new("NODE_LACKS_PACK", text),
        UpgradeError::Propose(ProposeError::Rejected(Rejection::NotEverywhere)) => {
            Refusal::for_now("NOT_EVERYWHERE", text)
        }
        UpgradeError::Propose(ProposeError::Rejected(_) | ProposeError::TooLarge) => {
            Refusal::new("REFUSED", text)
        }
        UpgradeError::Propose(
            ProposeError::Busy | ProposeError::Unknown | ProposeError::Stopped,
        ) => Refusal::for_now("CLUSTER_UNAVAILABLE", text),
    }
}
