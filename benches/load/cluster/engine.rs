//! The engine of a cluster: `redis-server` in its own process.

#[expect(dead_code, reason = "a load sends Redis no command")]
#[path = "../../../tests/common/redis.rs"]
mod redis;

use tokio::process::Command;

pub(super) use redis::Redis as Engine;

/// Returns what the engine prints as its version.
///
/// # Errors
/// Returns a text for the user if the engine cannot be started.
pub(super) async fn version() -> Result<String, String> {
    match Command::new("redis-server").arg("--version").output().await {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => Err(format!("redis-server does not start: {error}; on Debian: apt-get install -y redis-server")),
    }
}
