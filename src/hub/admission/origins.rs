//! Which pages may open a socket.

use super::rejection::Rejection;

/// The origins that are allowed: scheme, host and port, as browsers send them.
///
/// A WebSocket is under no same-origin policy: without such a list any page on the web can open one in the name of its
/// request, cookies included.
#[derive(Clone, Debug, Default)]
pub(in crate::hub) struct AllowedOrigins {
    allowed: Vec<Pattern>,
    /// Whether who says no origin may come: native clients and scripts.
    pub(in crate::hub) without: bool,
}

/// `https://app.example`, or `https://*.app.example` for every name below that one.
#[derive(Clone, Debug)]
struct Pattern {
    /// `https://`, when the host begins with `*.`; else all of it.
    prefix: String,
    /// `.app.example:8443`
    suffix: Option<String>,
}

impl AllowedOrigins {
    /// Adds a pattern, or says what must be.
    pub(in crate::hub) fn allow(&mut self, text: &str) -> Result<(), &'static str> {
        let text = text.to_ascii_lowercase();
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err("must be a scheme and a host, such as https://app.example");
        };
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            // Browser extensions and apps have schemes of their own.
            _ if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && is_scheme(scheme) => "",
            _ => return Err("must be a scheme and a host, such as https://app.example"),
        };
        if authority.contains(['/', '?', '#', '@']) {
            return Err("must be a scheme, a host and an optional port, without path, query or user");
        }
        // Browsers never say the port that the scheme has anyway.
        let authority = authority.strip_suffix(default_port).filter(|_| !default_port.is_empty()).unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
            return Err("must have a port from 0 to 65535, or none");
        }
        let (wild, name) = host.strip_prefix("*.").map_or((false, host), |name| (true, name));
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_ipv6 = name.starts_with('[') && name.ends_with(']') && !wild;
        if name.is_empty() || !(is_ipv6 || name.chars().all(is_name)) || name.starts_with('.') {
            return Err("must have a host name (punycode), with an optional leading *.");
        }
        self.allowed.push(match wild {
            true => Pattern { prefix: format!("{scheme}://"), suffix: Some(authority[1..].to_owned()) },
            false => Pattern { prefix: format!("{scheme}://{authority}"), suffix: None },
        });
        Ok(())
    }

    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.allowed.is_empty()
    }

    pub(in crate::hub) fn check(&self, origin: Option<&str>) -> Result<(), Rejection> {
        match origin {
            None if self.without => Ok(()),
            None => Err(Rejection::origin("Origin header required")),
            Some(origin) if self.allowed.iter().any(|pattern| pattern.matches(&origin.to_ascii_lowercase())) => Ok(()),
            Some(_) => Err(Rejection::origin("origin not allowed")),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

impl Pattern {
    fn matches(&self, origin: &str) -> bool {
        let Some(suffix) = &self.suffix else { return origin == self.prefix };
        let below = origin.strip_prefix(&*self.prefix).and_then(|host| host.strip_suffix(&**suffix));
        // One label at least, and nothing but labels.
        below.is_some_and(|labels| {
            let is_label = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !labels.is_empty() && !labels.starts_with('.') && !labels.ends_with('.') && labels.chars().all(is_label)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str], origin: &str) -> bool {
        let mut origins = AllowedOrigins::default();
        patterns.iter().for_each(|pattern| origins.allow(pattern).expect(pattern));
        origins.check(Some(origin)).is_ok()
    }

    #[test]
    fn an_origin_is_allowed_as_a_whole() {
        for good in ["https://app.example", "HTTPS://App.Example"] {
            assert!(allowed(&["https://app.example", "http://localhost:8000"], good), "{good}");
        }
        for evil in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://evil-app.example",
            "https://sub.app.example",
            "https://app.example/",
            "null",
            "",
            "http://localhost",
        ] {
            assert!(!allowed(&["https://app.example", "http://localhost:8000"], evil), "{evil}");
        }
    }

    #[test]
    fn a_wildcard_is_every_name_below_and_not_the_name_itself() {
        let patterns = ["https://*.app.example", "https://*.dev.example:8443"];
        for good in ["https://a.app.example", "https://a.b.app.example", "https://x.dev.example:8443"] {
            assert!(allowed(&patterns, good), "{good}");
        }
        for evil in [
            "https://app.example",
            "https://.app.example",
            "https://evilapp.example",
            "https://evil.example/.app.example",
            "https://evil.example#.app.example",
            "https://user@.app.example",
            "http://a.app.example",
            "https://a.app.example:1",
            "https://x.dev.example",
        ] {
            assert!(!allowed(&patterns, evil), "{evil}");
        }
    }

    #[test]
    fn the_port_that_a_scheme_has_anyway_need_not_be_said() {
        assert!(allowed(&["https://app.example:443"], "https://app.example"));
        assert!(allowed(&["http://*.app.example:80"], "http://a.app.example"));
        assert!(allowed(&["http://[::1]:3000"], "http://[::1]:3000"));
        assert!(allowed(&["moz-extension://abc"], "moz-extension://abc"));
    }

    #[test]
    fn without_an_origin_needs_a_switch() {
        let mut origins = AllowedOrigins::default();
        assert_eq!(origins.check(None).expect_err("not allowed").status(), Some(403));
        origins.without = true;
        assert!(origins.check(None).is_ok());
    }

    #[test]
    fn what_is_no_origin_is_an_error() {
        for wrong in [
            "",
            "*",
            "app.example",
            "https://",
            "https://*",
            "https://*.",
            "https://a.*.example",
            "https://app.example/",
            "https://app.example/path",
            "https://user@app.example",
            "https://app.example:port",
            "https://app.example:99999",
            "https://café.example",
            "://app.example",
        ] {
            assert!(AllowedOrigins::default().allow(wrong).is_err(), "{wrong}");
        }
    }
}
