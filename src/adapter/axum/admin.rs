//! The admin pages of a hub in an axum app.

use ::axum::Router;

use crate::adapter::hyper::AdminService;

/// Returns a router with the health checks, the status and the admin page of a hub, for `Router::nest_service`. Protect
/// it with the app's own authentication.
///
/// [`hyper::AdminService`](crate::hyper::AdminService) documents the paths. To add the text of the app's exporter at
/// `/metrics`, or values of the app, pass `sigver::hyper::admin(hub).with_metrics(render)` in place of the hub.
///
/// ```
/// use axum::extract::Request;
/// use axum::http::StatusCode;
/// use axum::middleware::{Next, from_fn};
/// use axum::response::Response;
/// use axum::{Router, routing::get};
/// use sigver::SignalingHub;
///
/// async fn require_operator(request: Request, next: Next) -> Result<Response, StatusCode> {
///     match request.headers().get("x-operator") { // after a lookup in the app's sessions
///         Some(_) => Ok(next.run(request).await),
///         None => Err(StatusCode::FORBIDDEN),
///     }
/// }
///
/// let hub = SignalingHub::new();
/// let admin = sigver::axum::admin_router::<()>(hub.clone()).layer(from_fn(require_operator));
/// let app: Router = Router::new()
///     .nest_service("/signal", sigver::axum::router(hub.clone()))
///     // The page is at `/internal/sigver`, with or without a slash at the end.
///     .nest_service("/internal/sigver", admin)
///     // Load balancers do not log in.
///     .route("/readyz", get(async move || match hub.is_ready() {
///         true => StatusCode::OK,
///         false => StatusCode::SERVICE_UNAVAILABLE,
///     }));
/// ```
pub fn admin_router<S: Clone + Send + Sync + 'static>(admin: impl Into<AdminService>) -> Router<S> {
    let service = admin.into();
    // Routes and not a fallback, so that `Router::route_layer` applies too.
    Router::new().route_service("/", service.clone()).route_service("/{*path}", service)
}
