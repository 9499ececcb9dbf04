//! Feeds engines with a description.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::descriptions::Unusable;
use super::{Engine, EngineConfig};
use crate::mesh::{Description, Kind};

/// The engine must neither hang nor abort. A panic inside it ends one connection, which is not a finding here.
pub(crate) fn fuzz_engine(sdp: &str) {
    static CONFIG: OnceLock<Arc<EngineConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let provider = str0m::crypto::from_feature_flags();
        let certificate = provider.dtls_provider.generate_certificate().expect("the provider generates certificates");
        let address = "192.0.2.1:1000".parse().expect("an address");
        Arc::new(EngineConfig { certificate, addresses: vec![address], channels: Vec::new() })
    });
    let start = Instant::now();
    for kind in [Kind::Offer, Kind::Answer] {
        let mut engine = Engine::new(config.clone(), start);
        if kind == Kind::Answer {
            engine.offer();
        }
        let description = Description { kind, sdp: sdp.to_owned() };
        for _ in 0..2 {
            let _: Result<_, Unusable> = engine.accept(&description);
        }
        for line in sdp.lines() {
            engine.add_candidate(line.trim_start_matches("a="));
        }
        for second in 1..20 {
            engine.handle_timeout(start + Duration::from_secs(second));
            while engine.poll_output().is_some() {}
        }
        engine.close();
    }
}
