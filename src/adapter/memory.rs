//! Joins a hub in process, without a network: a connected pair of transports, and a client for tests.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let hub = sigver::SignalingHub::new();
//! let mut alice = sigver::memory::join(&hub, "a key");
//! assert!(alice.connect(1, &[]).await);
//! alice.close().await;
//! # }
//! ```

use crate::{JoinRequest, SignalingHub};

pub use crate::client::test_client::TestClient;
pub use crate::transport::{ChannelTransport, pair};

/// The number of frames that each direction of a joined peer's [`pair`] holds.
const CAPACITY: usize = 16;

/// Joins `hub` with a peer that a spawned task serves, and returns the peer's client.
///
/// A peer that the hub rejects receives a close frame.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn join(hub: &SignalingHub, request: impl Into<JoinRequest>) -> TestClient<ChannelTransport> {
    TestClient::new(serve(hub, request.into()))
}

/// Serves one end of a pair in a spawned task and returns the other end.
fn serve(hub: &SignalingHub, request: JoinRequest) -> ChannelTransport {
    let (hub_end, client_end) = pair(CAPACITY);
    tokio::spawn(hub.serve(hub_end, request));
    client_end
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::client::{Client, ClientError, Event, Remote, Retry};
    use crate::protocol::{CloseCode, MemberId};
    use crate::transport::{CloseFrame, Frame};

    const MINUTE: Duration = Duration::from_secs(60);

    fn client(hub: &SignalingHub) -> Client<ChannelTransport> {
        Client::new(serve(hub, "K".into()))
    }

    /// A member, and a joiner that is bound to it.
    async fn linked(hub: &SignalingHub) -> [Client<ChannelTransport>; 2] {
        let [mut member, mut joiner] = [client(hub), client(hub)];
        assert!(member.connect(MemberId(1), &[]).await.expect("an answer"));
        assert!(!joiner.connect(MemberId(2), &[]).await.expect("an answer"));
        [member, joiner]
    }

    async fn close_code(client: &mut Client<ChannelTransport>) -> (u16, Retry) {
        match client.recv().await {
            Err(error) => {
                let retry = error.retry();
                let ClientError::Closed(Some(frame)) = error else { panic!("expected a close code, got {error:?}") };
                (frame.code, retry)
            }
            Ok(event) => panic!("expected a close code, got {event:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_is_in_recv_answers_heartbeats() {
        let hub = SignalingHub::new();
        let mut client = client(&hub);
        assert!(client.connect(MemberId(1), &[]).await.expect("an answer"));
        assert!(timeout(MINUTE, client.recv()).await.is_err(), "no event");
        assert_eq!(hub.stats().peers, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_is_not_polled_is_closed_with_4742() {
        let hub = SignalingHub::new();
        let mut client = client(&hub);
        assert!(client.connect(MemberId(1), &[]).await.expect("an answer"));
        sleep(Duration::from_secs(20)).await;
        assert_eq!(close_code(&mut client).await, (4742, Retry::Later));
    }

    #[tokio::test]
    async fn client_replies_to_a_joiner_and_to_its_member() {
        let hub = SignalingHub::new();
        let [mut member, mut joiner] = linked(&hub).await;
        joiner.send_content(Remote::Member, "offer").await.expect("sent");
        let Ok(Event::Content { from, link, data }) = member.recv().await else { panic!("expected an offer") };
        assert_eq!((from, &data[..]), (Remote::Joiner(link), &b"offer"[..]));
        member.send_content(from, "answer").await.expect("sent");
        let answer = Event::Content { from: Remote::Member, link, data: "answer".into() };
        assert_eq!(joiner.recv().await.expect("an answer"), answer);
    }

    #[tokio::test]
    async fn client_gets_ended_when_the_other_end_disconnects() {
        let hub = SignalingHub::new();
        let [mut member, joiner] = linked(&hub).await;
        joiner.close().await;
        let Ok(Event::Ended { from, link }) = member.recv().await else { panic!("expected the end of the link") };
        assert_eq!(from, Remote::Joiner(link));

        let [member, mut joiner] = linked(&SignalingHub::new()).await;
        drop(member);
        assert!(matches!(joiner.recv().await, Ok(Event::Ended { from: Remote::Member, .. })));
    }

    #[tokio::test]
    async fn client_gets_the_close_code_and_when_to_retry() {
        let hub = SignalingHub::new();
        let [mut member, mut joiner] = linked(&hub).await;
        // The joiner could not connect to the only member, and evicts it.
        assert!(joiner.connect(MemberId(2), &[]).await.expect("an answer"));
        assert_eq!(close_code(&mut member).await, (4744, Retry::Now));
        assert!(matches!(joiner.recv().await, Ok(Event::Ended { from: Remote::Member, .. })));
        hub.close_group("K", CloseCode::app(4001));
        assert_eq!(close_code(&mut joiner).await, (4001, Retry::Never));

        let mut client = client(&hub);
        assert!(client.connect(MemberId(1), &[]).await.expect("an answer"));
        tokio::join!(hub.shutdown(), async { assert_eq!(close_code(&mut client).await, (1001, Retry::Later)) });
    }

    #[tokio::test]
    async fn test_client_reports_content_of_both_ends_by_link() {
        let hub = SignalingHub::new();
        let [mut member, mut joiner] = [join(&hub, "K"), join(&hub, "K")];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        joiner.send_content(0, "offer").await;
        let (link, offer) = member.recv_content().await;
        assert_eq!(offer, "offer");
        member.send_content(link, "answer").await;
        assert_eq!(joiner.recv_content().await, (link, "answer".into()));
        joiner.close().await;
        assert_eq!(member.recv_content().await, (link, "".into()));
    }

    #[tokio::test]
    async fn recv_close_skips_contents_and_returns_code_and_reason() {
        let hub = SignalingHub::new();
        let [mut member, mut joiner] = [join(&hub, "K"), join(&hub, "K")];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        joiner.send_content(0, "offer").await;
        joiner.send_frame(Frame::Text("x".into())).await;
        assert_eq!(joiner.recv_close().await.code, 4743);
        hub.close_group("K", CloseCode::app(4001));
        assert_eq!(member.recv_close().await, CloseFrame::new(4001, "closed by the app"));
    }

    #[tokio::test]
    #[should_panic(expected = "expected a close frame with a code, got Ok(Connected { member: true })")]
    async fn recv_close_panics_if_a_connect_is_answered() {
        let mut client = join(&SignalingHub::new(), "K");
        client.send_connect(1, &[]).await;
        client.recv_close().await;
    }
}
