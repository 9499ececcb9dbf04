//! Connects to the first of several addresses that accepts a connection (Happy Eyeballs, RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

/// How long an attempt stays the only one, if it neither succeeds nor fails.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Returns the first connection of `connect`, which is called with one address after the other: the next one as soon as
/// an attempt fails, or after 250 ms. Attempts under way continue meanwhile, and end with the future.
///
/// # Errors
/// The error of each address, in the order in which the attempts failed.
pub(super) async fn race<T, F: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, Vec<(SocketAddr, io::Error)>> {
    let mut waiting = interleaved(addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            let attempt = connect(address);
            attempts.push(async move { (address, attempt.await) });
        }
        let finished = if waiting.len() == 0 {
            attempts.next().await
        } else {
            match timeout(ATTEMPT_DELAY, attempts.next()).await {
                Ok(finished) => finished,
                Err(_) => continue,
            }
        };
        match finished {
            Some((_, Ok(connection))) => return Ok(connection),
            Some((address, Err(error))) => failed.push((address, error)),
            None => return Err(failed),
        }
    }
}

/// Alternates between IPv6 and IPv4, starting with the family that the resolver prefers. Otherwise, a broken IPv6 would
/// delay the join by 250 ms for each of its addresses.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let prefers_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == prefers_v6);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(preferred.next().into_iter().chain(others.next()));
    }
    order
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().expect("an address")).collect()
    }

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    #[test]
    fn families_alternate_and_keep_their_order() {
        let list = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"]);
        let expected = addresses(&["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleaved(&list), expected);
        let list = addresses(&["127.0.0.1:1", "127.0.0.2:1", "[::1]:1"]);
        assert_eq!(interleaved(&list), addresses(&["127.0.0.1:1", "[::1]:1", "127.0.0.2:1"]));
        assert_eq!(interleaved(&[]), []);
    }

    #[tokio::test(start_paused = true)]
    async fn next_address_is_tried_at_once_after_a_failure_and_after_250_ms_of_silence() {
        let list = addresses(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"]);
        let (start, attempts) = (Instant::now(), RefCell::new(Vec::new()));
        let connected = race(&list, |address| {
            attempts.borrow_mut().push((address.port(), start.elapsed().as_millis()));
            async move {
                match address.port() {
                    1 => Err(refused()),
                    2 => pending().await,
                    port => {
                        sleep(SECOND).await;
                        Ok(port)
                    }
                }
            }
        })
        .await;
        assert_eq!(connected.expect("a connection"), 3);
        assert_eq!(attempts.into_inner(), [(1, 0), (2, 0), (3, 250), (4, 500)]);
        assert_eq!(start.elapsed().as_millis(), 1250);
    }

    #[tokio::test(start_paused = true)]
    async fn earlier_attempt_can_still_win() {
        let list = addresses(&["127.0.0.1:1", "127.0.0.1:2"]);
        let connected = race(&list, |address| async move {
            sleep(u32::from(address.port()) * 400 * Duration::from_millis(1)).await;
            Ok(address.port())
        });
        assert_eq!(connected.await.expect("a connection"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_returned() {
        let list = addresses(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        let failed = race(&list, |address| async move {
            sleep(u32::from(4 - address.port()) * SECOND).await;
            Err::<(), _>(refused())
        });
        let failed = failed.await.expect_err("no connection");
        assert_eq!(failed.iter().map(|(address, _)| address.port()).collect::<Vec<_>>(), [3, 2, 1]);
        assert!(race(&[], |_| async { Ok(()) }).await.expect_err("no address").is_empty());
    }
}
