//! Joiners that send more than a member with a slow connection can read. The member reads without a pause.

use std::time::Duration;

use sigver::protocol::Message;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::attackers::{Attackers, send_steadily};
use super::limits::{SAFE_PART, default_limit};
use crate::client::{End, Socket, Target, frame};
use crate::sources::{Buffers, Sources};

/// Payload bytes of one content.
const CONTENT_BYTES: usize = 16_000;
/// Bytes per second that the member reads.
const READ_BYTES_PER_SECOND: usize = 2_000_000;
/// Reads per second of the member.
const READS_PER_SECOND: usize = 100;
/// Receive buffer of the member. The default one of Linux grows to megabytes, so it would contain the flood.
const RECEIVE_BUFFER: u32 = 32 * 1024;

/// Runs the floods one after another, each with its own member, in parts of this time.
pub(super) async fn start(attackers: &Attackers, time: Duration) -> JoinSet<()> {
    let attackers = attackers.clone();
    let each = time / attackers.count.max(1) as u32;
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut starts = interval(each);
        for _ in 0..attackers.count {
            starts.tick().await;
            // The rest of the time is for the closes.
            flood_once(&attackers, each.mul_f64(0.8)).await;
        }
    });
    running
}

async fn flood_once(attackers: &Attackers, time: Duration) {
    let key = attackers.key();
    let target = Target { sources: Sources::WELL_BEHAVED, ..attackers.target.clone() };
    let stream = target.connect_with(Buffers::over_ethernet(RECEIVE_BUFFER)).await.expect("the server listens");
    let mut member = Socket::open_over(stream, &target, &key).await.expect("the hub admits a member");
    member.connect(1, &[]).await.expect("the hub answers a member");
    attackers.record(|report| {
        report.flooded.started += 1;
        report.attackers.started += 1;
    });
    let (member, attacker) = tokio::join!(timeout(time, read_slowly(member)), timeout(time, flood(attackers, &key)));
    attackers.record(|report| {
        member.into_iter().for_each(|end| report.flooded.count_end(end));
        attacker.into_iter().for_each(|end| report.attackers.count_end(end));
    });
}

/// Reads until the server ends the connection.
async fn read_slowly(mut socket: Socket) -> End {
    let mut reads = interval(Duration::from_secs(1) / READS_PER_SECOND as u32);
    loop {
        reads.tick().await;
        if let Err(end) = socket.read_up_to(READ_BYTES_PER_SECOND / READS_PER_SECOND) {
            return end;
        }
        while let Some(message) = socket.parse() {
            match message {
                Ok(message) if message == Message::HEARTBEAT => {
                    // The next read reports a lost connection.
                    let _ = socket.send(&frame(&Message::HEARTBEAT)).await;
                }
                Ok(_) => {}
                Err(end) => return end,
            }
        }
    }
}

/// Sends a burst and then steadily, both within the limits of one peer, until the server ends the connection.
async fn flood(attackers: &Attackers, key: &str) -> End {
    let mut socket = match attackers.open(key).await {
        Ok(socket) => socket,
        Err(end) => return end,
    };
    if let Err(end) = socket.connect(2, &[]).await {
        return end;
    }
    let content = frame(&Message::content(0, vec![b'x'; CONTENT_BYTES]).encode());
    let per_second = SAFE_PART * default_limit("bytes_per_second") / CONTENT_BYTES as f64;
    if socket.send(&content.repeat(per_second as usize)).await.is_err() {
        // A close code may have arrived before the connection was lost.
        return socket.recv_end().await;
    }
    send_steadily(socket, &content, per_second).await
}
