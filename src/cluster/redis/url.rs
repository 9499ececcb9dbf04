//! The URL of an engine.

use percent_encoding::percent_decode_str;

use super::address::Address;

/// What a URL contains.
pub(super) struct Url {
    pub(super) is_tls: bool,
    pub(super) servers: Servers,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

/// Which servers a URL names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Servers {
    /// One server, or nodes of a Redis Cluster.
    Nodes(Vec<Address>),
    /// Sentinels, and the name of the group of servers that they watch.
    Sentinels(Vec<Address>, String),
}

impl Url {
    /// Parses a URL. An error is a rule that the URL breaks. It has no part of the URL, because a password with a
    /// reserved character that is not percent-encoded can be anywhere in it.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (is_tls, is_sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err("must start with redis://, rediss://, redis+sentinel:// or rediss+sentinel://"),
        };
        if rest.contains(['?', '#']) {
            return Err("must have no query and no fragment; ? and # in a password are %3F and %23");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let default_port = if is_sentinel { 26379 } else { 6379 };
        let hosts = hosts.split(',').map(|host| Address::parse(host, default_port)).collect::<Option<Vec<_>>>();
        let hosts = hosts.ok_or("must have valid hosts: NAME, NAME:PORT or [IPV6]:PORT, separated by commas")?;
        let (service, database) = match path.split_once('/') {
            Some((service, database)) if is_sentinel => (service, database),
            None if is_sentinel => (path, ""),
            _ => ("", path),
        };
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| "must have a number as its database")?,
        };
        let servers = if is_sentinel {
            let is_valid = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            if service.is_empty() || !service.chars().all(is_valid) {
                return Err("must have the name of the service after the hosts of the Sentinels, as /mymaster");
            }
            Servers::Sentinels(hosts, service.to_owned())
        } else {
            if hosts.len() > 1 && database != 0 {
                return Err("must have no database, because a Redis Cluster has only one");
            }
            Servers::Nodes(hosts)
        };
        Ok(Self { is_tls, servers, user: decode(user)?, password: decode(password)?, database })
    }
}

/// Decodes a user or a password. An empty one is none.
fn decode(text: &str) -> Result<Option<String>, &'static str> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "must have a user and a password in UTF-8")?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Url {
        Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn addresses(ports: &[(&str, u16)]) -> Vec<Address> {
        ports.iter().map(|&(host, port)| Address { host: host.to_owned(), port }).collect()
    }

    #[test]
    fn one_or_several_nodes() {
        let url = parse("redis://localhost");
        assert_eq!((url.is_tls, url.database), (false, 0));
        assert_eq!(url.servers, Servers::Nodes(addresses(&[("localhost", 6379)])));
        assert_eq!((url.user, url.password), (None, None));
        assert_eq!(parse("redis://localhost:7000/3").database, 3);
        let url = parse("rediss://a:1,b,[::1]:2/");
        assert!(url.is_tls);
        assert_eq!(url.servers, Servers::Nodes(addresses(&[("a", 1), ("b", 6379), ("::1", 2)])));
    }

    #[test]
    fn sentinels_have_a_service_and_optionally_a_database() {
        let url = parse("redis+sentinel://a,b:1/mymaster");
        assert_eq!(url.servers, Servers::Sentinels(addresses(&[("a", 26379), ("b", 1)]), "mymaster".into()));
        let url = parse("rediss+sentinel://u:p@a/my-master/2");
        assert_eq!((url.is_tls, url.database), (true, 2));
        assert_eq!(url.servers, Servers::Sentinels(addresses(&[("a", 26379)]), "my-master".into()));
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        for (url, user, password) in [
            ("redis://u:p@h", Some("u"), Some("p")),
            ("redis://:p@h", None, Some("p")),
            ("redis://u@h", Some("u"), None),
            ("redis://u%40x:p%2F%3a%23@h", Some("u@x"), Some("p/:#")),
            ("redis://u:p:q@h", Some("u"), Some("p:q")),
            ("redis://u:p@q@h", Some("u"), Some("p@q")),
        ] {
            let parsed = parse(url);
            assert_eq!((parsed.user.as_deref(), parsed.password.as_deref()), (user, password), "{url}");
        }
    }

    #[test]
    fn invalid_url_is_rejected_with_a_rule() {
        for (url, rule) in [
            ("", "start with redis://"),
            ("localhost:6379", "start with redis://"),
            ("http://localhost", "start with redis://"),
            ("redis://", "valid hosts"),
            ("redis://a,", "valid hosts"),
            ("redis://a:x", "valid hosts"),
            ("redis://u:p/w@h", "valid hosts"),
            ("redis://u:1/w@h", "a number as its database"),
            ("redis://h/x", "a number as its database"),
            ("redis://h/service/1", "a number as its database"),
            ("redis://a,b/1", "no database"),
            ("redis://h?protocol=resp3", "no query"),
            ("redis://:p#q@h", "no fragment"),
            ("redis+sentinel://a", "name of the service"),
            ("redis+sentinel://u:1/p@h", "name of the service"),
            ("redis://%ff@h", "UTF-8"),
        ] {
            let error = Url::parse(url).err().unwrap_or_else(|| panic!("{url} is invalid"));
            assert!(error.contains(rule), "{url}: {error}");
        }
    }
}
