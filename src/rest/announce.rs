//! `/api/v1/cluster`: what admins tell the sockets of all nodes, and how many there are. Additions of ours.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{ApiError, ErrorBody, Success};
use super::sessions::only_admins;
use super::{answers, body};
use crate::announce::{Announcement, DATA_BYTES_MAX, Heard, NotSent, To};
use crate::app::App;
use crate::battle::schema::NanoIdText;

/// The whole body of an announcement, bytes.
const FORM_BYTES_MAX: usize = DATA_BYTES_MAX;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(announce))
        .routes(routes!(disconnect))
        .routes(routes!(sockets))
}

/// An event for some sockets.
#[derive(Deserialize, ToSchema)]
struct AnnounceForm {
    to: To,
    /// One of `ANNOUNCE_EVENTS`.
    event: String,
    /// Its one argument; null if it is missing.
    #[serde(default)]
    #[schema(value_type = Option<Object>, required = false)]
    data: serde_json::Value,
}

/// How far it came.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Heard)]
struct Reached {
    /// Nodes that have heard, this one among them.
    nodes_reached: usize,
    /// Nodes that count.
    nodes: usize,
}

impl Reached {
    fn answer(message: &'static str, heard: Result<Heard, NotSent>) -> Result<Response, ApiError> {
        match heard {
            Ok(Heard { nodes, of }) => {
                Ok(Success::answer(Some(message), Self { nodes_reached: nodes, nodes: of }))
            }
            Err(NotSent::Busy) => Err(ApiError::unavailable()),
            Err(NotSent::TooLarge) => Err(ApiError::too_large()),
        }
    }
}

/// Emits an event to everybody, to a player's sockets or to a room's two players, on whichever node they are.
/// What is lost on its way is not repeated.
#[utoipa::path(
    post, path = "/api/v1/cluster/announce", operation_id = "announce", tag = "Operation",
    request_body = AnnounceForm,
    responses(
        (status = 200, description = "It is told.", body = Success<Reached>),
        (status = 400, description = "`VALIDATION_ERROR`, `MALFORMED_BODY`.", body = ErrorBody<'static>),
        (status = 403, description = "`ADMIN_REQUIRED`, `EVENT_NOT_ALLOWED`.", body = ErrorBody<'static>),
        (status = 500, description = "`CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::NoToken, answers::BodyRefused, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
async fn announce(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    only_admins(&app, &headers).await?;
    let AnnounceForm { to, event, data } = body::json(&app, request, FORM_BYTES_MAX).await?;
    if !app.settings.announce.events.contains(&event) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "不允许广播该事件", "EVENT_NOT_ALLOWED"));
    }
    Reached::answer("广播已发送", app.announcer.announce(Announcement { to, event, data }).await)
}

/// Whose sockets are to leave.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DisconnectForm {
    #[schema(value_type = NanoIdText)]
    player_id: serverv2_machine::PlayerId,
}

/// Tells a player's sockets, on whichever node they are, to leave: their clients don't come back by themselves.
/// His sessions end as when he leaves; his tokens count still.
#[utoipa::path(
    post, path = "/api/v1/cluster/disconnect", operation_id = "disconnect_player", tag = "Operation",
    request_body = DisconnectForm,
    responses(
        (status = 200, description = "They are told.", body = Success<Reached>),
        (status = 400, description = "`VALIDATION_ERROR`, `MALFORMED_BODY`.", body = ErrorBody<'static>),
        (status = 403, description = "`ADMIN_REQUIRED`.", body = ErrorBody<'static>),
        (status = 500, description = "`CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::NoToken, answers::BodyRefused, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
async fn disconnect(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    only_admins(&app, &headers).await?;
    let DisconnectForm { player_id } = body::json(&app, request, FORM_BYTES_MAX).await?;
    Reached::answer("已断开该玩家的连接", app.announcer.disconnect(player_id).await)
}

/// Sockets of the whole cluster.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SocketCounts)]
struct Counted {
    /// Of the nodes that have said.
    total: usize,
    /// Whether all have.
    complete: bool,
    nodes: Vec<NodeSockets>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NodeSockets {
    node_id: u64,
    /// Null: it has not said in time.
    #[schema(required = true)]
    sockets: Option<usize>,
}

/// How many sockets each node holds, as it says now.
#[utoipa::path(
    get, path = "/api/v1/cluster/sockets", operation_id = "count_sockets", tag = "Operation",
    responses(
        (status = 200, description = "So many.", body = Success<Counted>),
        (status = 403, description = "`ADMIN_REQUIRED`.", body = ErrorBody<'static>),
        (status = 500, description = "`CHECK_PLAYER_ERROR`.", body = ErrorBody<'static>),
        answers::NoToken, answers::Unsure,
    ),
    security(("bearer" = [])),
)]
async fn sockets(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    only_admins(&app, &headers).await?;
    let counts = app.announcer.sockets().await;
    let counted = Counted {
        total: counts.iter().filter_map(|(_, sockets)| *sockets).sum(),
        complete: counts.iter().all(|(_, sockets)| sockets.is_some()),
        nodes: counts
            .into_iter()
            .map(|(node, sockets)| NodeSockets { node_id: node.0, sockets })
            .collect(),
    };
    Ok(Success::answer(Some("获取连接统计成功"), counted))
}
