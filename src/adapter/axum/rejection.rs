//! A rejection as a response of a handler.

use ::axum::response::{IntoResponse, Response};

use crate::Rejection;

/// The status, the headers, and the reason as a line of text, as `http::Response::from` returns them. It also contains
/// the status for a rejection with a close code.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        Response::from(self)
    }
}
