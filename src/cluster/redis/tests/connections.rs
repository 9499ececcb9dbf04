//! Connections that no call will use.

use std::sync::Arc;

use super::super::address::Address;
use super::super::connection::{Dialer, Login, Pool};
use super::*;

fn address(server: &Server) -> Address {
    Address { host: "127.0.0.1".to_owned(), port: server.port }
}

/// Waits until a server has this number of clients, without that of the command.
async fn wait_for_clients(server: &Server, count: usize) {
    // Each client has the fields `addr` and `laddr`.
    let clients = |reply: &str| reply.matches("addr=").count() / 2;
    server.wait_until("CLIENT LIST TYPE normal", |reply| clients(reply) == count + 1).await;
}

#[tokio::test]
async fn opening_a_connection_closes_those_that_no_call_will_use() {
    let start = || Server::start(&[]);
    let (Some(discarded), Some(used), Some(opened)) = (start(), start(), start()) else { return };
    let dialer =
        Dialer { tls: None, allows_unencrypted: false, login: Login::default(), database: 0, is_cluster: false };
    let pool = Pool::default();
    let get = async |server| pool.get(&address(server), &dialer).await.expect("the server is reachable");
    let kept = get(&used).await;
    get(&discarded).await.discard();
    wait_for_clients(&discarded, 1).await;
    get(&opened).await;
    wait_for_clients(&discarded, 0).await;
    wait_for_clients(&used, 1).await;
    assert!(Arc::ptr_eq(&kept, &get(&used).await));
}
