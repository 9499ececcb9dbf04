//! Tests of the limits of client IPs, and of the table of blocks.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Returns the slot before the connection, so that both are dropped in this order, as in the hub.
fn join(limiter: &Arc<IpLimiter>, address: &str, config: &Config) -> (Result<IpSlot, Rejection>, IpConnection) {
    let connection = limiter.connect(ip(address));
    let slot = connection.join(config, limiter.clock());
    (slot, connection)
}

#[tokio::test(start_paused = true)]
async fn ipv6_48_network_has_four_times_the_limits_of_one_ip() {
    let limiter = Arc::new(IpLimiter::new(Instant::now()));
    let config = Config { max_peers_per_ip: 2, joins_per_second_per_ip: 5, ..Config::default() };
    let peer = |network: usize| join(&limiter, &format!("2001:db8:0:{network:x}::1"), &config);
    let mut peers: Vec<_> = (0..8).map(peer).collect();
    assert!(peers.iter().all(|(slot, _)| slot.is_ok()));
    let reason = |(slot, _): (Result<IpSlot, Rejection>, _)| slot.err().map(|error| error.reason().to_owned());
    assert_eq!(reason(peer(8)).as_deref(), Some("peer limit of your /48 network reached (8)"));
    assert!(join(&limiter, "2001:db8:1::1", &config).0.is_ok(), "another network");
    peers.pop();
    let ninth = peer(9);
    assert!(ninth.0.is_ok(), "a peer that left makes room for another one");
    // Ten joins so far.
    for network in 10..20 {
        assert_eq!(reason(peer(network)).as_deref(), Some("peer limit of your /48 network reached (8)"));
    }
    assert_eq!(reason(peer(20)).as_deref(), Some("more than 20 joins per second from your /48 network"));

    let _closing: Vec<_> = (0..7).map(|network| limiter.connect(ip(&format!("2001:db8:0:{network:x}::2")))).collect();
    assert!(ninth.1.check(&config).is_ok(), "15 connections");
    let last = [limiter.connect(ip("2001:db8:0:30::1")), limiter.connect(ip("2001:db8:0:31::1"))];
    let error = last[1].check(&config).expect_err("17 connections");
    assert_eq!(error.reason(), "connection limit of your /48 network reached (16)");
}

#[tokio::test(start_paused = true)]
async fn block_is_removed_with_its_last_connection() {
    let limiter = Arc::new(IpLimiter::new(Instant::now()));
    let known = || limiter.blocks.lock().expect("nothing panicked").usages.len();
    let first = join(&limiter, "2001:db8::1", &Config::default());
    let second = join(&limiter, "2001:db8:0:1::1", &Config::default());
    let third = join(&limiter, "192.0.2.1", &Config::default());
    assert_eq!(known(), 4, "one /48 network, two /64 networks and one IPv4 address");
    tokio::time::advance(Duration::from_secs(1)).await;
    let received = |messages| {
        let slot = second.0.as_ref().expect("the first peer of this IP");
        slot.count_received(messages, 1000, &Config::default(), limiter.clock()).expect("within the limits");
    };
    received(100);
    drop(second);
    assert_eq!(known(), 3);
    drop((first, third));
    assert_eq!(known(), 0);
}

#[tokio::test(start_paused = true)]
async fn peers_of_one_ip_share_its_rates_even_if_none_of_them_stays() {
    let limiter = Arc::new(IpLimiter::new(Instant::now()));
    let config = Config { messages_per_second_per_ip: 100, bytes_per_second_per_ip: 1000, ..Config::default() };
    let count = |address: &str, messages, bytes| {
        let slot = join(&limiter, address, &config).0.expect("the peers are within the limits");
        slot.count_received(messages, bytes, &config, limiter.clock()).err().and_then(|close| close.cause())
    };
    assert_eq!(count("2001:db8::1", 60, 600), None);
    assert_eq!(count("2001:db8::2", 41, 0), Some(Cause::MessagesPerSecondPerIp));
    assert_eq!(count("2001:db8::2", 0, 401), Some(Cause::BytesPerSecondPerIp));
    assert_eq!(count("2001:db8::2", 40, 400), None);
    assert_eq!(count("192.0.2.1", 100, 1000), None, "another IP has its own rates");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(count("2001:db8::3", 100, 1000), None);
}

#[tokio::test(start_paused = true)]
async fn connections_count_until_they_end_and_peers_until_they_leave() {
    let limiter = Arc::new(IpLimiter::new(Instant::now()));
    let config = Config { max_peers_per_ip: 2, ..Config::default() };
    let cause = |result: Result<IpSlot, Rejection>| result.err().map(|rejection| rejection.cause());
    let [first, second] = [(); 2].map(|()| join(&limiter, "192.0.2.1", &config));
    assert!(first.0.is_ok() && second.0.is_ok());
    let (rejected, third) = join(&limiter, "192.0.2.1", &config);
    assert_eq!(cause(rejected), Some(Cause::MaxPeersPerIp));
    drop(first.0);
    let (joined, fourth) = join(&limiter, "192.0.2.1", &config);
    assert!(joined.is_ok(), "a peer in its close handshake is a connection only");
    assert!(fourth.check(&config).is_ok(), "four connections");
    let fifth = limiter.connect(ip("192.0.2.1"));
    assert_eq!(fifth.check(&config).map_err(|rejection| rejection.cause()), Err(Cause::MaxPeersPerIp));
    drop(third);
    assert!(fifth.check(&config).is_ok());
}

#[tokio::test(start_paused = true)]
async fn blocks_without_peers_are_removed() {
    let limiter = Arc::new(IpLimiter::new(Instant::now()));
    for n in 0..100_000_u32 {
        let connection = limiter.connect(IpAddr::V4(n.into()));
        drop(connection.join(&Config::default(), limiter.clock()).expect("the first peer of this IP"));
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let known = limiter.blocks.lock().expect("nothing panicked").usages.len();
    assert!(known <= 4 * KEPT_CAPACITY, "{known}");
}

/// Adds a block without a connection. Returns how many blocks were scanned for it.
fn add_block(blocks: &mut Blocks, n: u32, idle: bool) -> usize {
    let (block, _) = IpBlock::of(IpAddr::V4(n.into()));
    let (known, mut scanned) = (blocks.usages.len(), 0);
    let clock = || {
        scanned = known;
        Duration::ZERO
    };
    let usage = blocks.find_or_add(block, || Usage::new(block, Weak::new()), clock);
    usage.connections.store(usize::from(!idle), Ordering::Relaxed);
    scanned
}

#[test]
fn connection_of_known_block_scans_no_blocks() {
    let mut blocks = Blocks::default();
    let known = KEPT_CAPACITY as u32;
    assert_eq!((0..known).map(|n| add_block(&mut blocks, n, n == 0)).sum::<usize>(), 0);
    assert_eq!((0..known).map(|n| add_block(&mut blocks, n, n == 0)).sum::<usize>(), 0, "the table is full");
    assert_eq!(add_block(&mut blocks, known, false), KEPT_CAPACITY, "a new block makes room");
    assert_eq!(blocks.usages.len(), KEPT_CAPACITY, "one block was idle");
}

#[test]
fn scans_visit_at_most_two_blocks_for_each_new_one() {
    for idle_blocks_of_100 in [0, 1, 50, 99, 100] {
        let (mut blocks, mut scanned) = (Blocks::default(), 0);
        for n in 0..50_000_u32 {
            scanned += add_block(&mut blocks, n, n % 100 < idle_blocks_of_100);
            assert!(scanned <= 2 * (n as usize + 1), "{scanned} blocks were scanned for {n} new ones");
        }
        let in_use = 50_000 / 100 * (100 - idle_blocks_of_100 as usize);
        let known = blocks.usages.len();
        assert!(known <= (2 * in_use).max(KEPT_CAPACITY), "{known} blocks for {in_use} in use");
    }
}
