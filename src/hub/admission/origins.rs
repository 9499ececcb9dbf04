//! The origins whose pages may open a connection.

use super::rejection::Rejection;

/// The allowed origins: scheme, host and port, as browsers send them.
///
/// The same-origin policy does not apply to WebSockets. Without a list of allowed origins, any page on the web can open
/// one with the cookies of the user who visits it.
#[derive(Clone, Debug, Default)]
pub(in crate::hub) struct AllowedOrigins {
    allowed: Vec<Pattern>,
    /// Whether a request without an origin is allowed. Native clients, Node.js and command-line tools send
    /// none.
    pub(in crate::hub) allow_missing: bool,
}

/// `https://app.example`, or `https://*.app.example` for all of its subdomains.
#[derive(Clone, Debug)]
struct Pattern {
    /// The whole origin, or only `https://` if the host begins with `*.`.
    prefix: String,
    /// The rest after `*`, such as `.app.example:8443`.
    suffix: Option<String>,
}

impl AllowedOrigins {
    /// Adds a pattern. The error is the rule that `text` violates.
    pub(in crate::hub) fn allow(&mut self, text: &str) -> Result<(), &'static str> {
        let text = text.to_ascii_lowercase();
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err("must be a scheme and a host, such as https://app.example");
        };
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            // Browser extensions and apps have their own schemes.
            _ if scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && is_scheme(scheme) => "",
            _ => return Err("must be a scheme and a host, such as https://app.example"),
        };
        if authority.contains(['/', '?', '#', '@']) {
            return Err("must be a scheme, a host and an optional port, without path, query or user");
        }
        // Browsers omit the default port of a scheme.
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
            None if self.allow_missing => Ok(()),
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
        // The wildcard stands for at least one label, and for nothing but labels.
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
    fn origin_must_match_as_a_whole() {
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
    fn wildcard_matches_subdomains_but_not_the_domain_itself() {
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
    fn default_port_of_a_scheme_is_optional() {
        assert!(allowed(&["https://app.example:443"], "https://app.example"));
        assert!(allowed(&["http://*.app.example:80"], "http://a.app.example"));
        assert!(allowed(&["http://[::1]:3000"], "http://[::1]:3000"));
        assert!(allowed(&["http://[::1]"], "http://[::1]"));
        assert!(allowed(&["moz-extension://abc"], "moz-extension://abc"));
    }

    #[test]
    fn missing_origin_is_rejected_unless_allowed() {
        let mut origins = AllowedOrigins::default();
        assert_eq!(origins.check(None).expect_err("not allowed").reason(), "Origin header required");
        origins.allow_missing = true;
        assert!(origins.check(None).is_ok());
    }

    #[test]
    fn invalid_origin_is_an_error() {
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
            "https://[::1",
            "https://*.[::1]",
            "moz_extension://abc",
            "-extension://abc",
            "://app.example",
        ] {
            assert!(AllowedOrigins::default().allow(wrong).is_err(), "{wrong}");
        }
    }
}
