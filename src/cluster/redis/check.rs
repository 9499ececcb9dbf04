//! Compares the configuration of the engine with what the backplane needs.

use std::time::Duration;

use ::redis::{Value, cmd, from_redis_value};
use tokio::time::timeout;

use super::address::Address;
use super::client::{Client, TIMEOUT};
use super::connection::Pool;
use super::error;
use super::script::CHECK;
use crate::cluster::BackplaneError;

/// The oldest version, as major and minor number: the first one with the option NOMKSTREAM of XADD.
const MIN_VERSION: (u32, u32) = (6, 2);

/// Returns what an operator should change, or know.
pub(super) async fn findings(client: &Client, pool: &Pool, prefix: &str) -> Result<Vec<String>, BackplaneError> {
    let mut findings = Vec::new();
    let call = CHECK.call(format!("{prefix}{{check}}"), Vec::new());
    let reply = client.call(pool, &call, Duration::ZERO).await?;
    let failed: Vec<(String, String)> = from_redis_value(reply).map_err(|_| error::unexpected_reply("a check"))?;
    findings.extend(failed.iter().filter_map(|(command, text)| error::missing_permission(command, text)));
    for address in client.routes.listed().await? {
        match timeout(TIMEOUT, info(client, pool, &address)).await {
            Ok(Ok(info)) => findings.extend(info_findings(&info).into_iter().map(|text| format!("{address}: {text}"))),
            Ok(Err(error)) => findings.push(format!("maxmemory-policy and version not checked: {error}")),
            Err(_) => findings.push(format!("{address}: no reply within {TIMEOUT:?}")),
        }
    }
    Ok(findings)
}

async fn info(client: &Client, pool: &Pool, address: &Address) -> Result<String, BackplaneError> {
    let connection = pool.get(address, &client.dialer).await?;
    match connection.send(&cmd("INFO"), false).await {
        Ok(Value::BulkString(info)) => Ok(String::from_utf8_lossy(&info).into_owned()),
        Ok(_) => Err(error::unexpected_reply("its settings")),
        Err(error) => Err(error::failed(address, &error)),
    }
}

fn info_findings(info: &str) -> Vec<String> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let mut findings = Vec::new();
    // Valkey calls itself Redis 7.2 here, with the version of its own in another field.
    if let Some(version) = field("redis_version") {
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        if (major, minor) < MIN_VERSION {
            findings.push(format!("Redis {version} is too old; must be 6.2 or newer"));
        }
    }
    match field("maxmemory_policy") {
        Some("noeviction") | None => {}
        Some(policy) => findings.push(format!(
            "maxmemory-policy is {policy}; must be noeviction: when its memory is full, the engine deletes the lists \
             of members and the messages between nodes"
        )),
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_version_and_eviction_are_found() {
        let info = |version, policy| format!("# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\n");
        for version in ["6.2.0", "6.10.1", "7.0.15", "8.0.0", "10.0"] {
            assert_eq!(info_findings(&info(version, "noeviction")), [""; 0], "{version}");
        }
        for version in ["6.0.16", "5.0.3", "2.8", "x"] {
            let findings = info_findings(&info(version, "noeviction"));
            assert_eq!(findings, [format!("Redis {version} is too old; must be 6.2 or newer")]);
        }
        let findings = info_findings(&info("7.0.15", "allkeys-lru"));
        assert!(findings[0].starts_with("maxmemory-policy is allkeys-lru; must be noeviction"), "{findings:?}");
        assert_eq!(info_findings(""), [""; 0]);
    }
}
