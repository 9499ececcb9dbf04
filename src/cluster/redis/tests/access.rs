//! Users, permissions and the check of the configuration.

use super::*;

/// The settings for a user with these permissions, and for an administrator.
fn users(permissions: &str) -> [String; 2] {
    let user = format!("user sigver on >p@ss:w0rd/ -@all ~sv1:test:* {permissions}");
    [user, "user default on >admin ~* &* +@all".to_owned()]
}

fn start(permissions: &str) -> Option<Server> {
    Server::start(&users(permissions).each_ref().map(String::as_str))
}

/// The permissions in the documentation.
pub(super) fn permissions() -> String {
    permissions_in(&include_str!("../backplane.rs").replace("\n///", "\n"), "~sv1:NAME:*")
}

/// Returns the permissions after the keys in a block of code.
fn permissions_in(documentation: &str, keys: &str) -> String {
    let (_, permissions) = documentation.split_once(keys).expect("the documentation has a command");
    let (permissions, _) = permissions.split_once("```").expect("the block of code ends");
    permissions.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn guide_and_reference_have_the_same_permissions() {
    let in_guide = permissions_in(include_str!("../../../guide/clustering.md"), "~sv1:prod:*");
    assert_eq!(in_guide, permissions());
}

/// The permissions without one of them.
fn without(permission: &str) -> String {
    let documented = permissions();
    let all = documented.split(' ').filter(|&one| one != permission).collect::<Vec<_>>();
    assert!(all.len() + 1 == documented.split(' ').count(), "{permission} is documented");
    all.join(" ")
}

fn with_login(server: &Server) -> RedisBackplane {
    builder(server).user("sigver").password("p@ss:w0rd/").build().expect("the settings are valid")
}

mod with_the_documented_permissions {
    use super::*;

    static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| start(&permissions()));

    conformance_tests!(
        #[tokio::test]
        async {
            SERVER.as_ref().map(with_login)
        }
    );

    #[tokio::test]
    async fn check_finds_nothing() {
        let Some(server) = &*SERVER else { return };
        assert_eq!(with_login(server).check().await.expect("the engine is reachable"), [""; 0]);
    }

    #[tokio::test]
    async fn user_and_password_can_be_in_the_url() {
        let Some(server) = &*SERVER else { return };
        let url = format!("redis://sigver:p%40ss%3Aw0rd%2F@{}", server.address());
        let backplane = RedisBackplane::builder(url, "test").build().expect("the settings are valid");
        backplane.beat(random_node(), &[]).await.expect("the user may do this");
    }

    #[tokio::test]
    async fn keys_of_another_cluster_are_out_of_reach() {
        let Some(server) = &*SERVER else { return };
        let builder = RedisBackplane::builder(server.url(), "other").user("sigver").password("p@ss:w0rd/");
        let error = builder.build().expect("valid").beat(NodeId(1), &[]).await.expect_err("other keys").to_string();
        assert!(error.ends_with("the user has no permission for the keys of this cluster"), "{error}");
    }

    #[tokio::test]
    async fn wrong_or_missing_password_is_named_without_it() {
        let Some(server) = &*SERVER else { return };
        for (builder, expected) in [
            (builder(server).user("sigver").password("secret"), "the user or the password is wrong"),
            (builder(server).user("secret").password("p@ss:w0rd/"), "the user or the password is wrong"),
            (builder(server).password("p@ss:w0rd/"), "the user or the password is wrong"),
            (builder(server), "the engine requires a password"),
        ] {
            let backplane = builder.build().expect("the settings are valid");
            let error = backplane.beat(NodeId(1), &[]).await.expect_err("no access").to_string();
            assert_eq!(error, format!("{}: {expected}", server.address()));
            let error = backplane.recv(NodeId(1)).await.expect_err("no access").to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}

#[tokio::test]
async fn password_without_a_user_is_that_of_the_default_user() {
    let Some(server) = Server::start(&["requirepass secret"]) else { return };
    let backplane = builder(&server).password("secret").build().expect("the settings are valid");
    backplane.beat(NodeId(1), &[]).await.expect("the password is right");
}

#[tokio::test]
async fn missing_permission_is_found_and_named() {
    for permission in permissions().split(' ').filter(|&permission| permission != "+asking") {
        let Some(server) = start(&without(permission)) else { return };
        let backplane = with_login(&server);
        let name = permission[1..].to_uppercase();
        let findings = match backplane.check().await {
            Ok(findings) => findings,
            Err(error) => vec![error.to_string()],
        };
        let expected = match permission {
            "+info" => format!("maxmemory-policy and version not checked: {}: ", server.address()),
            _ => String::new(),
        };
        let found = findings.iter().any(|finding| {
            finding.starts_with(&expected) && finding.ends_with(&format!("no permission for the command {name}"))
        });
        assert!(found && findings.len() == 1, "{permission}: {findings:?}");
    }
}

#[tokio::test]
async fn permission_that_a_script_lacks_is_an_error_of_the_call() {
    let Some(server) = start(&without("+hset")) else { return };
    let error = with_login(&server).step(random_group(), add(1)).await.expect_err("HSET is missing").to_string();
    assert!(error.contains("no permission for a command of the scripts"), "{error}");
}

#[tokio::test]
async fn eviction_policy_is_found() {
    for (settings, count) in [(&["maxmemory-policy allkeys-lru"][..], 1), (&["maxmemory-policy noeviction"], 0)] {
        let Some(server) = Server::start(settings) else { return };
        let findings = backplane(&server).check().await.expect("the engine is reachable");
        assert_eq!(findings.len(), count, "{findings:?}");
        let expected = format!("{}: maxmemory-policy is allkeys-lru; must be noeviction", server.address());
        assert!(findings.iter().all(|finding| finding.starts_with(&expected)), "{findings:?}");
    }
}

#[tokio::test]
async fn full_engine_is_an_error_with_its_cause() {
    let Some(server) = Server::start(&["maxmemory 1", "maxmemory-policy noeviction"]) else { return };
    let error = backplane(&server).step(random_group(), add(1)).await.expect_err("no memory is left").to_string();
    assert!(error.contains("OOM command not allowed"), "{error}");
}

#[tokio::test]
async fn check_leaves_no_key() {
    let Some(server) = Server::start(&[]) else { return };
    assert_eq!(backplane(&server).check().await.expect("the engine is reachable"), [""; 0]);
    assert_eq!(server.command("DBSIZE"), ":0");
}

#[test]
fn credentials_are_in_no_debug_output() {
    let builder = RedisBackplane::builder("rediss://user1:secret1@example.org", "test")
        .user("user2")
        .password("secret2")
        .sentinel_user("user3")
        .sentinel_password("secret3");
    let text = format!("{builder:?} {:?}", builder.clone().build().expect("the settings are valid"));
    let expected = "RedisBackplaneBuilder { name: \"test\", allow_unencrypted: false, max_inbox_entries: 10000, .. } \
                    RedisBackplane { prefix: \"sv1:test:\", .. }";
    assert_eq!(text, expected);
}

#[test]
fn invalid_settings_are_rejected() {
    let local = || RedisBackplane::builder("redis://localhost", "test");
    for (builder, expected) in [
        (RedisBackplane::builder("redis://localhost", ""), "name must have 1 to 32 of the characters a-z, 0-9 and -"),
        (RedisBackplane::builder("redis://localhost", "a".repeat(33)), "name must have 1 to 32"),
        (RedisBackplane::builder("redis://localhost", "Test"), "name must have 1 to 32"),
        (RedisBackplane::builder("redis://localhost", "a:b"), "name must have 1 to 32"),
        (RedisBackplane::builder("redis://localhost", "{a}"), "name must have 1 to 32"),
        (RedisBackplane::builder("http://localhost", "test"), "url must start with redis://"),
        (RedisBackplane::builder("redis://example.org", "test"), "url must start with rediss://"),
        (RedisBackplane::builder("redis://localhost,10.0.0.1", "test"), "url must start with rediss://"),
        (RedisBackplane::builder("redis+sentinel://10.0.0.1/m", "test"), "url must start with rediss://"),
        (local().max_inbox_entries(0), "max_inbox_entries is 0; must be at least 1"),
        (local().user("u"), "user must not be set without a password"),
        (local().sentinel_user("u"), "sentinel_user must not be set without a password"),
        (local().ca_certificates("x"), "ca_certificates must not be set for a url without TLS"),
        (
            RedisBackplane::builder("rediss://localhost", "test").ca_certificates("x"),
            "ca_certificates must have at least one certificate in PEM",
        ),
    ] {
        let error = builder.build().expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    for builder in [
        RedisBackplane::builder("redis://example.org", "a-1").allow_unencrypted(true),
        RedisBackplane::builder("redis://[::1],127.0.0.1:1", "a".repeat(32)),
        RedisBackplane::builder("redis+sentinel://localhost/m", "test"),
    ] {
        builder.build().expect("the settings are valid");
    }
}
