//! The HTTP head of a join request: headers, and the extensions of the app's middleware.

use std::sync::Arc;

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;

use super::{JoinRequest, parameters};
use crate::hub::admission::http_header::header;
use crate::hub::admission::ip_block::canonical;
use crate::hub::admission::proxies::TrustedProxies;
use crate::protocol::percent_decoded;

/// The HTTP head, behind the feature `hyper`.
impl JoinRequest {
    /// Sets the head of the HTTP request: method, URI, headers, and the extensions that the app's middleware has set.
    /// Replaces the origin with the one in the headers.
    ///
    /// Extensions set before, for example with `JoinRequest::with_extension`, remain and take precedence. Headers set
    /// before are removed.
    #[must_use]
    pub fn with_parts(mut self, mut parts: Parts) -> Self {
        self.origin = origin(&parts.headers);
        if let Some(before) = self.parts.take() {
            parts.extensions.extend(Arc::unwrap_or_clone(before).extensions);
        }
        self.parts = Some(Arc::new(parts));
        self.came_over_http = true;
        self
    }

    /// Adds a value to the extensions of the request head, for the [`Admission`](crate::Admission) hook: what the app's
    /// handler or middleware knows about the peer. Replaces a value of the same type. In tests, it stands for the
    /// middleware:
    ///
    /// ```
    /// use sigver::{CloseCode, JoinRequest, PeerInfo, Rejection, SignalingHub, memory};
    ///
    /// #[derive(Clone)]
    /// struct User(String); // set by the app's middleware
    ///
    /// async fn admit(request: JoinRequest) -> Result<PeerInfo, Rejection> {
    ///     match request.extension::<User>() {
    ///         Some(User(name)) => Ok(PeerInfo::new().identity(&**name)),
    ///         None => Err(Rejection::close(CloseCode::app(4001), "log in first")),
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sigver::ConfigError> {
    /// let hub = SignalingHub::builder().admission(admit).build()?;
    /// let alice = JoinRequest::new("a key").with_extension(User("alice".into()));
    /// assert!(memory::join(&hub, alice).connect(1, &[]).await);
    /// assert_eq!(memory::join(&hub, "a key").recv_close().await.code, 4001);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.parts_mut().extensions.insert(value);
        self
    }

    /// Adds a header to the request head, for tests of an [`Admission`](crate::Admission) hook. Adapters set all
    /// headers that the client has sent.
    ///
    /// ```
    /// use sigver::JoinRequest;
    ///
    /// let request = JoinRequest::new("a key").with_header("cookie", "session=alices-session");
    /// assert_eq!(request.parts().map(|parts| parts.headers.len()), Some(1));
    /// ```
    ///
    /// # Panics
    /// If the name or the value is not valid in HTTP.
    #[must_use]
    pub fn with_header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let (name, value) = header(name, value);
        let headers = &mut self.parts_mut().headers;
        headers.append(&name, value);
        if name == ORIGIN {
            self.origin = origin(headers);
        }
        self
    }

    /// Returns the head of the HTTP request. `None` unless an adapter, [`JoinRequest::with_parts`],
    /// [`JoinRequest::with_extension`] or [`JoinRequest::with_header`] set it.
    pub fn parts(&self) -> Option<&Parts> {
        self.parts.as_deref()
    }

    /// Returns the value of this type in the extensions of the request head, if there is one: set by the app's
    /// middleware, or with [`JoinRequest::with_extension`].
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.parts()?.extensions.get()
    }

    /// Returns the value of a header, if the request has one of this name and the value is ASCII text. With several, the
    /// first. A page cannot set headers of a WebSocket handshake, but other clients can.
    ///
    /// ```
    /// use sigver::JoinRequest;
    ///
    /// let request = JoinRequest::new("a key").with_header("authorization", "Bearer alices-token");
    /// let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    /// assert_eq!(token, Some("alices-token"));
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts()?.headers.get(name)?.to_str().ok()
    }

    /// Returns the value of a parameter of the query, decoded, if the URL has one of this name: `+` means a space, as
    /// `URLSearchParams` writes it. With several, the first. `None` if an escape is invalid.
    ///
    /// ```
    /// use sigver::JoinRequest;
    ///
    /// # let (parts, ()) = http::Request::get("/signal/room?token=a%2Bb+c").body(())?.into_parts();
    /// # let request = JoinRequest::new("room").with_parts(parts);
    /// // The URL is /signal/room?token=a%2Bb+c
    /// assert_eq!(request.query("token").as_deref(), Some("a+b c"));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn query(&self, name: &str) -> Option<String> {
        let decode = |text: &str| percent_decoded(&text.replace('+', "%20")).ok();
        let mut parameters = parameters(self.parts()?.uri.query()?);
        parameters.find(|(found, _)| decode(found).as_deref() == Some(name)).and_then(|(_, value)| decode(value))
    }

    /// Returns the subprotocols that the client offers, `new WebSocket(url, ["sigver", "token.…"])`. Access logs do not
    /// contain them.
    ///
    /// ```
    /// use sigver::JoinRequest;
    ///
    /// let offered = "sigver, token.alices-token";
    /// let request = JoinRequest::new("a key").with_header("sec-websocket-protocol", offered);
    /// let token = request.subprotocols().find_map(|protocol| protocol.strip_prefix("token."));
    /// assert_eq!(token, Some("alices-token"));
    /// ```
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        let fields = self.parts().into_iter().flat_map(|parts| parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL));
        let lists = fields.filter_map(|field| field.to_str().ok());
        lists.flat_map(|list| list.split(',')).map(str::trim).filter(|protocol| !protocol.is_empty())
    }

    /// Returns the value of a cookie, if the request has one of this name. With several of this name, the first. It reads
    /// all headers `Cookie`: over HTTP/2, browsers send one for each cookie.
    ///
    /// ```
    /// use sigver::JoinRequest;
    ///
    /// let request = JoinRequest::new("a key").with_header("cookie", "theme=dark; session=alices-session");
    /// assert_eq!(request.cookie("session"), Some("alices-session"));
    /// assert_eq!(request.cookie("sess"), None);
    /// ```
    pub fn cookie(&self, name: &str) -> Option<&str> {
        // HTTP/2 may split the cookies over several fields (RFC 9113 section 8.2.3).
        let fields = self.parts()?.headers.get_all(COOKIE).iter();
        let mut pairs = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(';'));
        pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
    }

    /// Replaces the key with that of another request.
    #[cfg(any(feature = "axum", feature = "warp"))]
    pub(crate) fn with_key_of(self, other: Self) -> Self {
        Self { key: other.key, ..self }
    }

    /// Returns whether [`JoinRequest::with_parts`] has set the head.
    pub(in crate::hub) fn came_over_http(&self) -> bool {
        self.came_over_http
    }

    /// Replaces the address of a trusted proxy with the client IP that the proxy reports, and an IPv6 address that
    /// embeds an IPv4 address with the IPv4 address.
    pub(in crate::hub) fn behind(mut self, proxies: &TrustedProxies) -> Self {
        self.client_ip = self.client_ip.map(|socket| match &self.parts {
            Some(parts) => proxies.client_ip(socket, &parts.headers),
            None => canonical(socket),
        });
        self
    }

    /// Returns whether the head has more than one `Origin`. Browsers send one (RFC 6454 section 7.3). With several,
    /// a check and the app could read different ones.
    pub(in crate::hub::admission) fn has_several_origins(&self) -> bool {
        let origins = self.parts.as_ref().map(|parts| parts.headers.get_all(ORIGIN));
        origins.is_some_and(|origins| origins.iter().nth(1).is_some())
    }

    fn parts_mut(&mut self) -> &mut Parts {
        Arc::make_mut(self.parts.get_or_insert_with(|| Arc::new(http::Request::new(()).into_parts().0)))
    }
}

/// Returns the origin in the headers. A header that is not text matches no allowed origin.
fn origin(headers: &HeaderMap) -> Option<Box<str>> {
    headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(headers: &[(&'static str, &'static str)]) -> Parts {
        let mut request = http::Request::new(());
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request.into_parts().0
    }

    #[test]
    fn parts_keep_extensions_and_replace_headers_and_origin() {
        #[derive(Clone, Debug, PartialEq)]
        struct User(&'static str);
        let mut head = parts(&[("origin", "https://b.example")]);
        head.extensions.insert(User("of the middleware"));
        head.extensions.insert(7_u8);
        let request = JoinRequest::new("K").with_extension(User("of the handler"));
        let request = request.with_header("cookie", "a=b").with_header("origin", "https://a.example");
        assert_eq!((request.origin(), request.came_over_http()), (Some("https://a.example"), false));
        let request = request.with_parts(head);
        assert_eq!((request.origin(), request.came_over_http()), (Some("https://b.example"), true));
        assert_eq!(request.extension(), Some(&User("of the handler")));
        assert_eq!(request.extension(), Some(&7_u8));
        assert_eq!(request.cookie("a"), None);
    }

    #[test]
    fn header_adds_a_field_and_only_an_origin_changes_the_origin() {
        let request = JoinRequest::new("K").with_origin("https://a.example").with_header("x-a", "1");
        let request = request.with_header("x-a", 2);
        let values = request.parts().expect("a head").headers.get_all("x-a").iter();
        assert_eq!(values.collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(request.origin(), Some("https://a.example"));
        let request = request.with_header("Origin", "https://b.example");
        assert_eq!((request.origin(), request.has_several_origins()), (Some("https://b.example"), false));
        assert!(request.with_header("origin", "https://c.example").has_several_origins());
    }

    #[test]
    fn clone_of_a_request_does_not_share_later_changes() {
        let request = JoinRequest::new("K").with_extension(1_u8);
        let other = request.clone().with_extension(2_u8);
        assert_eq!((request.extension(), other.extension()), (Some(&1_u8), Some(&2_u8)));
    }

    #[test]
    fn header_is_the_first_of_its_name_in_any_case() {
        let request =
            JoinRequest::new("K").with_header("x-a", "1").with_header("x-a", "2").with_header("x-b", "\u{e9}");
        assert_eq!([request.header("X-A"), request.header("x-b"), request.header("no name")], [Some("1"), None, None]);
        assert_eq!(JoinRequest::new("K").header("x-a"), None);
    }

    #[test]
    fn query_parameter_is_the_first_of_its_name_and_decoded() {
        let request = |uri: &str| {
            let (parts, ()) = http::Request::get(uri).body(()).expect("a URI").into_parts();
            JoinRequest::new("K").with_parts(parts)
        };
        let token = "x".repeat(2000);
        for (uri, expected) in [
            ("/?token=a", Some("a")),
            ("/?x=1&token=a+b&token=c", Some("a b")),
            ("/?%74oken=%2B", Some("+")),
            ("/?token", Some("")),
            ("/?tokens=a", None),
            ("/?token=%zz", None),
            ("/?token=%ff", None),
            ("/token=a", None),
            (&format!("/?token={token}"), Some(&*token)),
        ] {
            assert_eq!(request(uri).query("token").as_deref(), expected, "{uri}");
        }
        assert_eq!(JoinRequest::new("K").query("token"), None);
    }

    #[test]
    fn subprotocols_are_the_items_of_all_fields() {
        let request = JoinRequest::new("K").with_header("sec-websocket-protocol", "a, b,,c");
        let request = request.with_header("sec-websocket-protocol", " d ");
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(JoinRequest::new("K").subprotocols().count(), 0);
    }

    #[test]
    fn cookie_is_found_by_its_whole_name_in_any_field() {
        let request = JoinRequest::new("K").with_parts(parts(&[("cookie", "a=1; bc=2;c=3"), ("cookie", "d=4=5; a=6")]));
        for (name, value) in [("a", Some("1")), ("b", None), ("c", Some("3")), ("d", Some("4=5")), ("e", None)] {
            assert_eq!(request.cookie(name), value, "{name}");
        }
        assert_eq!(JoinRequest::new("K").cookie("a"), None);
    }
}
