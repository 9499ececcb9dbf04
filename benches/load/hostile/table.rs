//! The table of attacks with a name.

use hdrhistogram::Histogram;

use crate::attacks::{NamedAttack, Report, default_limit};

/// One attack: what well-behaved peers noticed of it, compared with the same attack on another server.
pub(super) struct Row {
    pub(super) attack: NamedAttack,
    pub(super) attackers: usize,
    /// During the attack on another server.
    pub(super) control: Latencies,
    pub(super) attacked: Latencies,
    /// Resident memory of the server before the attack, in MiB.
    pub(super) resident_before: f64,
    /// Highest resident memory during the attack, in MiB.
    pub(super) peak: f64,
    /// Well-behaved peers that the server closed.
    pub(super) closed: usize,
    /// Messages, or tries to connect, of well-behaved peers that failed.
    pub(super) lost: u64,
    pub(super) report: Report,
}

/// Round-trip times, or times to connect, in microseconds.
pub(super) struct Latencies {
    p50: f64,
    p99: f64,
}

/// Highest accepted ratio of the median under attack to that of the control.
const MAX_RATIO: f64 = 2.0;
/// Memory that an attack may use in addition to the outboxes and the idle peers, in MiB.
const EXTRA_MEMORY: f64 = 64.0;
/// Memory of an idle peer, in MiB.
const IDLE_PEER: f64 = 8.0 / 1024.0;

impl From<&Histogram<u64>> for Latencies {
    fn from(nanos: &Histogram<u64>) -> Self {
        let [p50, p99] = [0.5, 0.99].map(|quantile| nanos.value_at_quantile(quantile) as f64 / 1000.0);
        Self { p50, p99 }
    }
}

impl Row {
    /// Returns the bounds that the attack exceeded.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.closed > 0 || self.lost > 0 {
            failures.push("well-behaved peers disturbed".to_owned());
        }
        match self.attack {
            NamedAttack::NamedIds | NamedAttack::RenamedMembers => {
                let ratio = self.attacked.p50 / self.control.p50;
                if ratio > MAX_RATIO {
                    failures.push(format!("p50 over {MAX_RATIO} times the control"));
                }
            }
            NamedAttack::UnreadOutboxes | NamedAttack::HeldOutboxes => {
                let outboxes = default_limit("max_total_outbox_bytes") / f64::from(1 << 20);
                let bound = outboxes + EXTRA_MEMORY + IDLE_PEER * self.attackers as f64;
                if self.peak - self.resident_before > bound {
                    failures.push(format!("memory rose by more than {bound:.0} MiB"));
                }
            }
            NamedAttack::FloodedMember => {
                let attackers = &self.report.attackers;
                if attackers.ended() < attackers.started {
                    failures.push("attackers remained".to_owned());
                }
            }
            NamedAttack::SilentConnections | NamedAttack::All => {}
        }
        failures
    }
}

/// Prints one line for each row.
pub(super) fn print(rows: &[Row]) {
    println!(
        "{:<19} {:>21} {:>21} {:>13} {:>15} {:>6} {:>6}  {:<44} result",
        "",
        "control p50/p99, us",
        "attack p50/p99, us",
        "ratios",
        "MiB before/peak",
        "closed",
        "lost",
        "attackers ended"
    );
    for row in rows {
        let Row { attack, control, attacked, resident_before, peak, closed, lost, report, .. } = row;
        let failures = row.failures();
        let result = if failures.is_empty() { "ok".to_owned() } else { failures.join(", ") };
        println!(
            "{:<19} {:>21} {:>21} {:>13} {:>15} {closed:>6} {lost:>6}  {:<44} {result}",
            attack.name(),
            format!("{:.0} / {:.0}", control.p50, control.p99),
            format!("{:.0} / {:.0}", attacked.p50, attacked.p99),
            format!("{:.1} / {:.1}", attacked.p50 / control.p50, attacked.p99 / control.p99),
            format!("{resident_before:.0} / {peak:.0}"),
            report.attackers.to_string(),
        );
    }
}
