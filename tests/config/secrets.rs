//! The secrets of signed keys.

use std::time::{Duration, SystemTime};

use sigver::SignedKeys;
use sigver::protocol::GroupKey;

use crate::common::open;
use crate::process::{FREE_PORT, sigver, spawn, utf8, write};
use crate::{check, print, rejects};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";
const PRIMARY: &str = "SIGVER_SIGNED_KEYS_SECRET";
const SECONDARY: &str = "SIGVER_SIGNED_KEYS_SECONDARY_SECRET";
const FLAG: &str = "--signed-keys-secret-file";

#[tokio::test]
async fn keys_signed_with_a_configured_secret_are_admitted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path_signed_with = |secret: &str| {
        let keys = SignedKeys::new(secret).expect("a long enough secret");
        let expires = SystemTime::now() + Duration::from_secs(3600);
        format!("/{}", keys.sign(&GroupKey::new("room").expect("a valid key"), expires).expect("a short enough key"))
    };
    let first = write(folder.path(), "first", &format!("{SECRET}\n"));
    let second = write(folder.path(), "second", OTHER);
    let [first, second] = [&first, &second].map(|path| utf8(path));
    let file = write(folder.path(), "sigver.toml", &format!("signed_keys_secret_files = [{second:?}]"));
    let one = [FLAG, first];
    let two = [FLAG, first, FLAG, second];
    let config = ["--config", utf8(&file)];
    for (args, variables, admits) in [
        (&one[..], &[][..], [true, false]),
        (&two, &[], [true, true]),
        (&config, &[], [false, true]),
        (&[], &[(PRIMARY, SECRET)], [true, false]),
        (&[], &[(PRIMARY, SECRET), (SECONDARY, OTHER)], [true, true]),
        // The environment takes precedence over the file, and a flag over both.
        (&config, &[(PRIMARY, SECRET)], [true, false]),
        (&one, &[(PRIMARY, OTHER)], [true, false]),
    ] {
        let (_process, address) = spawn(sigver(&FREE_PORT).args(args).envs(variables.iter().copied())).await;
        assert_eq!(open(&address, "/room").await.recv_close().await.code, 1008);
        for (secret, admits) in [SECRET, OTHER].into_iter().zip(admits) {
            let mut peer = open(&address, &path_signed_with(secret)).await;
            if admits {
                // The answer depends on the peers of the other secret.
                let _: bool = peer.connect(1, &[]).await;
            } else {
                assert_eq!(peer.recv_close().await.code, 1008, "{args:?} {variables:?}");
            }
        }
    }
}

#[tokio::test]
async fn invalid_secrets_are_rejected_and_never_printed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let short = write(folder.path(), "short", "tooshort");
    let empty = write(folder.path(), "empty.toml", "signed_keys_secret_files = []");
    let missing = folder.path().join("missing");
    rejects(&[FLAG, utf8(&short)], &["short", "secret is 8 bytes long; must be at least 32 bytes"]).await;
    rejects(&[FLAG, utf8(&missing)], &["cannot read --signed-keys-secret-file", utf8(&missing)]).await;
    rejects(&[FLAG, "a", FLAG, "b", FLAG, "c"], &["signed_keys_secret_files has 3 files; must have 1, or 2"]).await;
    rejects(&["--config", utf8(&empty)], &["signed_keys_secret_files has 0 files"]).await;

    let error = check(&[], &[(PRIMARY, "tooshort")]).await.expect_err("8 bytes");
    assert!(error.contains(PRIMARY) && !error.contains("tooshort"), "{error}");
    let error = check(&[], &[(SECONDARY, SECRET)]).await.expect_err("no primary secret");
    assert!(error.contains(&format!("{SECONDARY} is set; requires {PRIMARY}")), "{error}");

    let printed = print(&[], &[(PRIMARY, SECRET)]).await;
    assert!(printed.starts_with("# The secrets") && !printed.contains(SECRET), "{printed}");
}
