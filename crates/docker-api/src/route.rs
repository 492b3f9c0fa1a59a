//! Paths of the API, with and without a version (`/v1.44/version`), and what they answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

/// Newest version of Docker's API whose negotiation this answers.
const API_VERSION: &str = "1.44";
/// Oldest one.
const MIN_API_VERSION: &str = "1.24";

/// What the daemon says of itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Version of the daemon.
    pub version: String,
    /// Architecture in Docker's words (`amd64`).
    pub architecture: String,
    /// Release of the kernel.
    pub kernel: String,
}

/// The API over `facts`.
pub fn router(facts: Facts) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(facts))
}

async fn answer(State(facts): State<Arc<Facts>>, request: Request) -> Response {
    let path = unversioned(request.uri().path());
    match (request.method().as_str(), path) {
        ("GET" | "HEAD", "/_ping") => ping(),
        ("GET", "/version") => version(&facts).into_response(),
        (method, path) => {
            let message = format!(
                "{method} {path} is not built yet: this daemon answers GET /_ping and GET \
                 /version here; use swarmctl"
            );
            (StatusCode::NOT_IMPLEMENTED, Json(json!({ "message": message }))).into_response()
        }
    }
}

fn ping() -> Response {
    let headers = [
        (HeaderName::from_static("api-version"), API_VERSION),
        (HeaderName::from_static("ostype"), "linux"),
        (HeaderName::from_static("docker-experimental"), "false"),
    ];
    (headers, "OK").into_response()
}

fn version(facts: &Facts) -> Json<serde_json::Value> {
    Json(json!({
        "Version": facts.version,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "Os": "linux",
        "Arch": facts.architecture,
        "KernelVersion": facts.kernel,
        "Components": [{ "Name": "swarmd", "Version": facts.version }],
    }))
}

/// The path without a leading `/v1.NN`.
fn unversioned(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/v") else { return path };
    match rest.find('/') {
        Some(end) if rest[..end].bytes().all(|b| b.is_ascii_digit() || b == b'.') => &rest[end..],
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn call(method: &str, path: &str) -> (StatusCode, String) {
        let facts =
            Facts { version: "0.1.0".into(), architecture: "amd64".into(), kernel: "6.1".into() };
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = router(facts).oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_client_can_ping_and_negotiate() {
        assert_eq!(call("GET", "/_ping").await, (StatusCode::OK, "OK".into()));
        let (status, body) = call("GET", "/v1.41/version").await;
        assert!(status == StatusCode::OK && body.contains("\"ApiVersion\":\"1.44\""), "{body}");
    }

    #[tokio::test]
    async fn what_is_not_built_is_refused_by_name() {
        let (status, body) = call("POST", "/v1.41/containers/create").await;
        assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
        assert!(body.contains("POST /containers/create"), "{body}");
    }
}
