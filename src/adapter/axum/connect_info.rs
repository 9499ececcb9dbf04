//! The client address that axum adds to a request.

use std::net::SocketAddr;

use ::axum::extract::ConnectInfo;
use ::axum::http::Extensions;

/// Returns the address in `ConnectInfo<SocketAddr>`. `None` if the app is served without it.
pub(in crate::adapter) fn client_addr(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|&ConnectInfo(client)| client)
}
