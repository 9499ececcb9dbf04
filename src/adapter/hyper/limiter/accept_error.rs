//! What a failed accept means for the next one.

use std::io::{Error, ErrorKind};

/// The kind of a failed accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// The failure of one connection. The next may be accepted.
    OneConnection,
    /// The process or the system has no resources for a connection.
    OutOfResources,
    Other,
}

impl AcceptError {
    pub(super) fn of(error: &Error) -> Self {
        match error.kind() {
            _ if is_out_of_resources(error) => Self::OutOfResources,
            // Linux reports errors of the network that wait on the new socket: see accept(2).
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::PermissionDenied
            | ErrorKind::TimedOut => Self::OneConnection,
            _ if is_protocol_error(error) => Self::OneConnection,
            _ => Self::Other,
        }
    }
}

#[cfg(unix)]
fn is_out_of_resources(error: &Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(not(unix))]
fn is_out_of_resources(error: &Error) -> bool {
    const WSAEMFILE: i32 = 10_024;
    const WSAENOBUFS: i32 = 10_055;
    matches!(error.raw_os_error(), Some(WSAEMFILE | WSAENOBUFS))
}

#[cfg(unix)]
fn is_protocol_error(error: &Error) -> bool {
    error.raw_os_error() == Some(libc::EPROTO)
}

#[cfg(not(unix))]
fn is_protocol_error(_: &Error) -> bool {
    false
}
