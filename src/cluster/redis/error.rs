//! The texts of errors. No text has a credential, a key or content.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use super::address::Address;
use crate::cluster::BackplaneError;

/// The error of a command in a script for which the user has no permission. It does not name the command.
const NO_PERMISSION_IN_SCRIPT: &str = "The user executing the script can't run this command";

/// Describes a failed call.
pub(super) fn failed(address: &Address, error: &RedisError) -> BackplaneError {
    BackplaneError::new(format!("{address}: {}", text(error)))
}

/// Describes an unexpected reply.
pub(super) fn unexpected_reply(expected: &str) -> BackplaneError {
    BackplaneError::new(format!("the engine returned something else than {expected}"))
}

/// Returns what happened. What the server wrote is shown only if it cannot have an argument of the command: a server
/// repeats the arguments of a command that it does not know.
pub(super) fn text(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoPerm) => no_permission(detail),
        ErrorKind::Server(_) | ErrorKind::Extension => match error.code().unwrap_or_default() {
            "NOAUTH" => "the engine requires a password".to_owned(),
            "WRONGPASS" => "the user or the password is wrong".to_owned(),
            code => server_error(code, detail),
        },
        // An I/O error of the system or of TLS.
        ErrorKind::Io => error.to_string(),
        _ => error.category().to_owned(),
    }
}

/// Describes the error of a command in a script, if it is that the user may not run it.
pub(super) fn missing_permission(command: &str, text: &str) -> Option<String> {
    let is_missing = text.contains("NOPERM") || text.contains(NO_PERMISSION_IN_SCRIPT);
    is_missing.then(|| format!("the user has no permission for the command {command}"))
}

fn server_error(code: &str, detail: &str) -> String {
    let (first, rest) = detail.split_once(", with args").unwrap_or((detail, ""));
    if first.contains(NO_PERMISSION_IN_SCRIPT) {
        return "the user has no permission for a command of the scripts".to_owned();
    }
    if first.contains("cluster support disabled") {
        return "the server is not a node of a Redis Cluster, as each of several hosts must be".to_owned();
    }
    if first.contains("sv1:") || !rest.is_empty() && !first.starts_with("unknown command") {
        return format!("{code} error");
    }
    format!("{code} {first}")
}

/// Names the command, which is in quotes. The rest of the text may have a key.
fn no_permission(detail: &str) -> String {
    let mut parts = detail.split('\'').skip(1);
    match (parts.next(), parts.next()) {
        (Some(command), Some(rest)) if rest.contains("command") => {
            format!("the user has no permission for the command {}", command.to_uppercase())
        }
        _ if detail.contains("key") => "the user has no permission for the keys of this cluster".to_owned(),
        _ => "the user has no permission".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(reply: &str) -> String {
        let value = ::redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).expect("a reply");
        text(&value.extract_error().expect_err("an error"))
    }

    #[test]
    fn text_has_the_cause_but_no_argument() {
        for (reply, expected) in [
            ("NOAUTH Authentication required.", "the engine requires a password"),
            ("WRONGPASS invalid username-password pair or user is disabled.", "the user or the password is wrong"),
            (
                "NOPERM this user has no permissions to run the 'xadd' command",
                "the user has no permission for the command XADD",
            ),
            (
                "NOPERM User sigver has no permissions to run the 'client|setname' command",
                "the user has no permission for the command CLIENT|SETNAME",
            ),
            (
                "NOPERM User sigver has no permissions to access the 'sv1:command:g:1' key",
                "the user has no permission for the keys of this cluster",
            ),
            ("NOPERM No permissions to access a key", "the user has no permission for the keys of this cluster"),
            ("NOPERM No permissions to access a channel", "the user has no permission"),
            (
                "ERR The user executing the script can't run this command or subcommand script: 1f, on @user_script:1.",
                "the user has no permission for a command of the scripts",
            ),
            (
                "ERR unknown command 'EVALSHA', with args beginning with: 'secret' 'sv1:prod:nodes' ",
                "ERR unknown command 'EVALSHA'",
            ),
            ("WRONGTYPE Operation against sv1:prod:nodes", "WRONGTYPE error"),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                "OOM command not allowed when used memory > 'maxmemory'.",
            ),
            (
                "READONLY You can't write against a read only replica.",
                "READONLY You can't write against a read only replica.",
            ),
        ] {
            assert_eq!(described(reply), expected);
        }
    }
}
