//! The backplane over real servers.

mod server;

use std::sync::LazyLock;

use crate::cluster::conformance::conformance_tests;
use server::Server;

mod plain {
    use super::*;

    static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

    conformance_tests!(
        #[tokio::test]
        async {
            SERVER.backplane()
        }
    );
}
