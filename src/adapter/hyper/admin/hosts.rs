//! The hosts under which a browser may reach the admin service.

use std::net::IpAddr;

use ::hyper::header::{HOST, HeaderMap};
use ::hyper::http::Uri;

/// Protects a service without a login against DNS rebinding: another site could point its own name at the address of the
/// server, and read the responses in the operator's browser.
#[derive(Clone, Debug, Default)]
pub(super) struct AllowedHosts(Option<Vec<String>>);

impl AllowedHosts {
    pub(super) fn new<H: Into<String>>(hosts: impl IntoIterator<Item = H>) -> Self {
        Self(Some(hosts.into_iter().map(Into::into).collect()))
    }

    /// Returns whether a request names an allowed host, in its URI (HTTP/2) or in its `Host` header.
    pub(super) fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(hosts) = &self.0 else { return true };
        let header = || headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(|authority| authority.as_str()).or_else(header).unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        // A site cannot make a browser send an IP address of this server, because an address is not looked up.
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || hosts.iter().any(|known| name.eq_ignore_ascii_case(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_an_ip_address_localhost_or_one_of_the_list() {
        let hosts = AllowedHosts::new(["Admin.example"]);
        for (host, is_allowed) in [
            ("127.0.0.1", true),
            ("127.0.0.1:8001", true),
            ("[::1]:8001", true),
            ("[::1]", true),
            ("localhost:8001", true),
            ("admin.example", true),
            ("ADMIN.EXAMPLE:80", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("admin.example.evil.example:80", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            let header = HeaderMap::from_iter([(HOST, host.parse().expect("a header"))]);
            assert_eq!(hosts.allow(&Uri::from_static("/status"), &header), is_allowed, "{host:?}");
            assert!(AllowedHosts::default().allow(&Uri::from_static("/status"), &header), "{host:?}");
            if !host.is_empty() {
                let uri = Uri::try_from(format!("http://{host}/status")).expect("a URI");
                assert_eq!(hosts.allow(&uri, &HeaderMap::new()), is_allowed, "{host:?}");
            }
        }
        assert!(!hosts.allow(&Uri::from_static("/status"), &HeaderMap::new()), "no host");
    }
}
