//! The probe as a health check: with headers, quick, and with JSON as its output.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::service::service_fn;
use serde_json::Value;
use sigver::SignalingHub;

use crate::process::{run, sigver, start};
use crate::servers::{fast_hub, http};
use crate::{fails, passes, probe};

const SKIPPED: [&str; 6] = ["tls", "heartbeat", "keepalive", "idle", "text message", "empty key"];

/// Runs the probe with `--quick --json`. Returns its exit code and its only line, parsed.
async fn quick_json(url: &str) -> (i32, Value) {
    let (code, output) = probe(&["--quick", "--json", url]).await;
    assert_eq!(output.lines().count(), 1, "{output}");
    (code, serde_json::from_str(&output).expect(&output))
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut checks = report["checks"].as_array().expect("a list").iter();
    checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[tokio::test]
async fn quick_probe_waits_for_no_heartbeat_and_leaves_no_peer() {
    // Its first heartbeat comes after 5 s.
    let hub = SignalingHub::new();
    let address = http(sigver::hyper::service(hub.clone())).await;
    let start = Instant::now();
    passes(&["--quick", &format!("ws://{address}/")], &SKIPPED).await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    while hub.stats().peers > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(hub.stats().closes.total() + hub.stats().rejections.total(), 0, "a health check raises no alarm");
}

#[tokio::test]
async fn json_report_has_each_check_and_the_round_trip_times() {
    let (_process, address) = start(&[]).await;
    let (code, report) = quick_json(&format!("ws://{address}/")).await;
    assert_eq!((code, &report["ok"], &report["failed"], &report["skipped"]), (0, &true.into(), &0.into(), &6.into()));
    let checks = report["checks"].as_array().expect("a list");
    let with = |result: &str| checks.iter().filter(|check| check["result"] == result).count();
    assert_eq!((report["passed"].as_u64(), with("skipped"), with("failed")), (Some(with("ok") as u64), 6, 0));
    assert_eq!(checks[0]["name"], "url");
    assert!(checks[0].get("seconds").is_none(), "{report}");
    for name in ["dns", "tcp", "websocket", "first peer", "second peer", "bind", "relay", "rtt", "leave"] {
        let check = check(&report, name);
        assert_eq!(check["result"], "ok", "{report}");
        assert!(check["seconds"].as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{check}");
        assert!(check["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{check}");
    }
    assert_eq!(check(&report, "keepalive")["detail"], "takes too long for --quick");
    let [median, max] = ["median", "max"].map(|name| report["round_trip_seconds"][name].as_f64().expect("a number"));
    assert!(0.0 < median && median <= max && max < 60.0, "{report}");
}

#[tokio::test]
async fn failed_check_is_in_the_json_report_and_exits_with_1() {
    let hub = SignalingHub::builder().max_peers(1).build().expect("valid settings");
    let address = http(sigver::hyper::service(hub)).await;
    let (code, report) = quick_json(&format!("ws://{address}/")).await;
    assert_eq!((code, &report["ok"], &report["failed"]), (1, &false.into(), &1.into()), "{report}");
    let failed = check(&report, "bind");
    assert_eq!(failed["result"], "failed");
    assert!(failed["detail"].as_str().is_some_and(|detail| detail.contains("closed with 1013")), "{report}");
    assert!(report.get("round_trip_seconds").is_none(), "{report}");
    assert_eq!(check(&report, "text message")["result"], "skipped");
}

#[tokio::test]
async fn headers_are_sent_with_each_handshake() {
    let (hub, requests) = (fast_hub(), Arc::new(Mutex::new(Vec::new())));
    let seen = requests.clone();
    let address = http(service_fn(move |request: Request<Incoming>| {
        seen.lock().expect("no panic").push(request.headers().clone());
        let hub = hub.clone();
        async move { Ok(sigver::hyper::upgrade(request, &hub).await) }
    }))
    .await;
    let url = format!("ws://{address}/?key={{key}}");
    let headers = ["--header", "Authorization: Bearer a:b", "--header", "x-hop: 1", "--header", "X-Hop:2"];
    let host = ["--header", "Host: hub.example", "--origin", "https://app.example"];
    let output = passes(&[&["--quick", &url][..], &headers, &host].concat(), &SKIPPED).await;
    assert!(!output.contains("Bearer"), "a header can be a credential: {output}");
    let requests = requests.lock().expect("no panic");
    assert_eq!(requests.len(), 2);
    for request in &*requests {
        assert_eq!(request["authorization"], "Bearer a:b");
        assert_eq!(request.get_all("x-hop").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(request.get_all(HOST).iter().collect::<Vec<_>>(), ["hub.example"]);
        assert_eq!(request["origin"], "https://app.example");
    }
}

#[tokio::test]
async fn invalid_headers_and_combinations_are_errors_of_the_command_line() {
    for (args, words) in [
        (["--header", "token"], "must be NAME: VALUE"),
        (["--header", "Upgrade: h2c"], "is part of each handshake"),
        (["--header", "Origin: https://app.example"], "use --origin"),
        (["--quick", "--idle=5"], "cannot be used with"),
    ] {
        let (code, output) = probe(&[&args[..], &["ws://localhost/"]].concat()).await;
        assert!(code == 2 && output.contains(words), "{args:?}: {code}, {output}");
    }
}

#[tokio::test]
async fn probe_runs_in_the_environment_of_the_server() {
    let (_process, address) = start(&[]).await;
    let variables =
        [("SIGVER_HOST", "::"), ("SIGVER_PORT", "1"), ("SIGVER_LOG_FORMAT", "json"), ("SIGVER_CONFIG", "/none")];
    let mut command = sigver(&["probe", "--quick", "--json", &format!("ws://{address}/")]);
    let output = command.envs(variables).output().await.expect("it starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn draining_server_fails_the_quick_probe() {
    let hub = SignalingHub::new();
    hub.drain(Duration::ZERO).await;
    let address = http(sigver::hyper::service(hub)).await;
    fails(&["--quick", &format!("ws://{address}/")], "websocket", &["503"]).await;
    let output = run(&["probe", "--help"]).await;
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(["--header", "--quick", "--json"].iter().all(|option| help.contains(option)), "{help}");
}
