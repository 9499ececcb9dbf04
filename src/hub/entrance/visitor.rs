//! Who wants to open a socket.

use std::fmt;
use std::net::IpAddr;
#[cfg(feature = "hyper")]
use std::sync::Arc;

use crate::hub::Opening;
use crate::protocol::{GroupKey, KeyError};

/// Who wants to open a socket: what its URL says, where it comes from, and the head of its request.
///
/// The adapters make one of each request. An app that upgrades its own sockets makes it, and leaves away what it does
/// not have; in memory there is only what a test says. A clone is cheap.
///
/// ```
/// use sigver::{Opening, Visitor};
///
/// let visitor = Visitor::from(Opening::new("a key")).address([192, 0, 2, 7].into()).origin("https://app.example");
/// assert_eq!(visitor.key().unwrap().as_str(), "a key");
/// ```
#[derive(Clone)]
pub struct Visitor {
    opening: Opening,
    address: Option<IpAddr>,
    origin: Option<Box<str>>,
    #[cfg(feature = "hyper")]
    head: Option<Arc<http::request::Parts>>,
}

impl Visitor {
    /// The other end of the connection: the peer's address, or that of a proxy in front of the server, see
    /// `HubBuilder::trusted_proxies`.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// The page that the peer's script was loaded from, as browsers say it in the header `Origin`. It is read from
    /// `Visitor::head` when that is given.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into().into());
        self
    }

    /// The head of the peer's request: method, URI, headers, and the extensions that the app's middleware has set.
    #[cfg(feature = "hyper")]
    #[must_use]
    pub fn head(mut self, head: http::request::Parts) -> Self {
        let origin = head.headers.get(http::header::ORIGIN);
        // What is not even text is no origin that anybody allows.
        self.origin = origin.map(|origin| origin.to_str().unwrap_or_default().into());
        self.head = Some(Arc::new(head));
        self
    }

    /// The visitor behind proxies that speak for it.
    #[cfg(feature = "hyper")]
    pub(super) fn past(mut self, proxies: &super::Proxies) -> Self {
        self.address = proxies.client(&self);
        self
    }
}

/// What an [`Admission`](crate::Admission) looks at.
impl Visitor {
    /// The key of the group that it asks for. An app's [`Admission`](crate::Admission) sees no visitor without one, and
    /// may say `visitor.key()?`.
    ///
    /// # Errors
    /// What it asks for is no key.
    pub fn key(&self) -> Result<&GroupKey, &KeyError> {
        self.opening.key.as_ref()
    }

    /// Whether it asks to be favored.
    pub fn is_favored(&self) -> bool {
        self.opening.favored
    }

    /// Where it comes from, past the proxies that the hub trusts, if that is known.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The page that it comes from, if it says so.
    pub fn page_origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The head of its request, if it came by one.
    #[cfg(feature = "hyper")]
    pub fn request(&self) -> Option<&http::request::Parts> {
        self.head.as_deref()
    }
}

/// Without the head, which has keys, tokens and cookies.
impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Visitor");
        shown.field("opening", &self.opening).field("address", &self.address).field("origin", &self.origin);
        shown.finish_non_exhaustive()
    }
}

impl<O: Into<Opening>> From<O> for Visitor {
    fn from(opening: O) -> Self {
        Self {
            opening: opening.into(),
            address: None,
            origin: None,
            #[cfg(feature = "hyper")]
            head: None,
        }
    }
}
