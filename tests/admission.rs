//! What an app sees of an admission: the answer of a hook, the permit, or the end of a rejected connection.

use std::net::IpAddr;
use std::time::SystemTime;

use sigver::client::ClientError;
use sigver::memory::{self, TestClient};
use sigver::{Cause, CloseCode, GroupKey, JoinRequest, PeerInfo, Rejection, SignalingHub};

const CLIENT_IP: [u8; 4] = [192, 0, 2, 7];

#[tokio::test]
async fn permit_shows_the_key_identity_and_client_ip_of_its_peer() {
    let admission = |_| async { Ok(PeerInfo::new().identity("alice")) };
    let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
    let request = JoinRequest::from("K").with_client_ip(CLIENT_IP.into());
    let permit = hub.admit(request).await.expect("the hub is empty");
    assert_eq!(permit.key().as_str(), "K");
    assert_eq!((permit.identity(), permit.client_ip()), (Some("alice"), Some(IpAddr::from(CLIENT_IP))));
    let shown = format!("{permit:?}");
    assert!(shown.starts_with("Permit { slot: ") && shown.contains("alice"), "{shown}");

    let anonymous = SignalingHub::new().admit("K").await.expect("the hub is empty");
    assert_eq!((anonymous.identity(), anonymous.client_ip()), (None, None));
}

#[tokio::test(start_paused = true)]
async fn rejected_connection_is_dropped_without_a_close_frame_while_there_are_too_many() {
    let hub = SignalingHub::builder().max_peers(1).build().expect("valid settings");
    let reject = async |rejection| {
        let (server_end, client_end) = memory::pair(1);
        let mut client = TestClient::new(client_end);
        let (_, received) = tokio::join!(hub.reject(server_end, rejection), client.recv());
        match received {
            Err(ClientError::Closed(Some(frame))) => Some(frame.code),
            Err(ClientError::Closed(None) | ClientError::ConnectionLost(_)) => None,
            other => panic!("expected the end of the connection, but received {other:?}"),
        }
    };
    let by_app = || Rejection::close(CloseCode::app(4001), "log in first");
    assert_eq!(reject(by_app()).await, Some(4001), "the only connection");

    let connections = [(); 2].map(|()| hub.serve(memory::pair(1).0, "K"));
    let rejection = hub.admit("K").await.expect_err("the third connection");
    assert_eq!(rejection.cause(), Cause::MaxPeers);
    assert_eq!(reject(by_app()).await, None, "the third connection");
    drop(connections);
    assert_eq!(reject(rejection).await, None, "the hub decided before that it drops this connection");
    assert_eq!(reject(by_app()).await, Some(4001));
}

#[test]
fn peer_info_returns_what_was_set() {
    let new = PeerInfo::new();
    assert_eq!((new.get_identity(), new.get_key(), new.get_favored()), (None, None, None));
    assert_eq!((new.get_expires_at(), new.get_data::<u32>()), (None, None));

    let key = GroupKey::new("room").expect("the key is valid");
    let time = SystemTime::UNIX_EPOCH;
    let info = new.identity("alice").key(key.clone()).favored(false).expires_at(time).data(7_u32);
    assert_eq!((info.get_identity(), info.get_key(), info.get_favored()), (Some("alice"), Some(&key), Some(false)));
    assert_eq!((info.get_expires_at(), info.get_data::<u32>()), (Some(time), Some(&7)));
    assert_eq!(info.get_data::<i32>(), None, "another type");
}
