//! The documents of the interface, made once from what serves it: they can't say anything else.
//!
//! The page that shows the REST API is Swagger UI, which comes with the binary. It needs no other host, and
//! browsers are told to ask none.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::Tag;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Server,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_swagger_ui::Config;

use super::error::ErrorBody;
use super::rate::TooMany;
use crate::gateway::asyncapi;

const JSON: &str = "application/json; charset=utf-8";
const TAGS: [&str; 6] = ["Operation", "Players", "Tokens", "E-mail", "Sessions", "Battle reports"];
/// The page draws with inline styles and images; all else has to come from here.
const ONLY_FROM_HERE: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

static ASYNC_API: LazyLock<String> = LazyLock::new(|| asyncapi::document().to_string());
static PAGE: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    // Without a validator: the usual one is somebody else's server, which would be told of this one.
    let config = Config::new(["/api-docs.json"]).validator_url("none");
    Arc::new(config.try_it_out_enabled(true).use_base_layout())
});

/// What the document says beside its routes.
pub(super) fn about() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An access token, as the routes that let a player in give it."))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .schema(ErrorBody::name(), ErrorBody::schema())
        .schema(TooMany::name(), TooMany::schema())
        .build();
    let mut license = LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build();
    license.identifier = Some(env!("CARGO_PKG_LICENSE").into());
    let info = InfoBuilder::new()
        .title("ServerV2: REST API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Bodies are JSON or forms; unknown fields are ignored. Codes are for programs, messages for \
             people. An unknown path, or a known one with another method, is a 404 that says \
             `Cannot <METHOD> <path>`. `/asyncapi.json` describes the Socket.IO events.",
        ))
        .license(Some(license))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .components(Some(components))
        .tags(Some(TAGS.map(Tag::new)))
        .build()
}

/// The routes of the documents, which are all that `described` may leave out.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(described: &OpenApi) -> Router<S> {
    // Of texts and numbers only: it can't fail.
    let document = Bytes::from(serde_json::to_vec(described).unwrap_or_default());
    Router::new()
        .route("/asyncapi.json", get(async_api))
        .route("/api-docs.json", get(open_api))
        .route("/api-docs", get(async || Redirect::permanent("/api-docs/")))
        .route("/api-docs/", get(async |method, uri| asset("", method, uri).await))
        .route("/api-docs/{*asset}", get(named_asset))
        .with_state(document)
}

/// `GET /asyncapi.json`: the Socket.IO events.
async fn async_api() -> Response {
    ([(CONTENT_TYPE, JSON)], ASYNC_API.as_str()).into_response()
}

/// `GET /api-docs.json`: the REST API.
async fn open_api(State(document): State<Bytes>) -> Response {
    ([(CONTENT_TYPE, JSON)], document).into_response()
}

/// `GET /api-docs/…`: what the page is made of.
async fn named_asset(Path(name): Path<String>, method: Method, uri: Uri) -> Response {
    asset(&name, method, uri).await
}

async fn asset(name: &str, method: Method, uri: Uri) -> Response {
    let Ok(Some(file)) = utoipa_swagger_ui::serve(name, PAGE.clone()) else {
        return super::unknown(method, uri).await.into_response();
    };
    let bytes = match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let headers =
        [(CONTENT_TYPE, file.content_type), (CONTENT_SECURITY_POLICY, ONLY_FROM_HERE.into())];
    (headers, bytes).into_response()
}
