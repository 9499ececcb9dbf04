//! The contract: every externally visible rule, written once and run over every adapter.
//!
//! In memory the clock is paused. Over TCP it runs, so a rule with a visible duration gets a short one there, unless
//! the rule is the default itself.

#![cfg(all(
    feature = "axum",
    feature = "cli",
    feature = "cluster",
    feature = "hyper",
    feature = "signed-keys",
    feature = "turn",
    feature = "warp"
))]

/// Generates a test of each rule for each listed adapter.
macro_rules! on {
    ([$($test:ident: $adapter:ident),*] $($rule:ident)*) => { on!(@each [$($test: $adapter),*] $($rule)*); };
    (@each $adapters:tt $($rule:ident)*) => { $(on!(@rule $adapters $rule);)* };
    (@rule [$($test:ident: $adapter:ident),*] $rule:ident) => {
        mod $rule {
            use crate::server::Adapter;
            $(
                #[tokio::test]
                async fn $test() {
                    crate::server::in_time(Adapter::$adapter, super::$rule(Adapter::$adapter)).await;
                }
            )*
        }
    };
}

/// For rules that hold on every adapter.
macro_rules! on_every_adapter {
    ($($rule:ident)*) => {
        on! {
            [
                memory: Memory, memory_node: MemoryNode, memory_cluster: MemoryCluster,
                hyper: Hyper, tower: Tower, axum: Axum, warp: Warp,
                hyper_handler: HyperHandler, axum_handler: AxumHandler, warp_handler: WarpHandler,
                standalone: Standalone, standalone_tls: StandaloneTls, standalone_cluster: StandaloneCluster,
                hyper_upgraded_by_app: HyperUpgradedByApp, axum_upgraded_by_app: AxumUpgradedByApp,
                warp_upgraded_by_app: WarpUpgradedByApp
            ]
            $($rule)*
        }
    };
}

/// For rules that need non-default settings.
macro_rules! on_every_configurable_adapter {
    ($($rule:ident)*) => {
        on! {
            [
                memory: Memory, memory_node: MemoryNode, memory_cluster: MemoryCluster,
                hyper: Hyper, tower: Tower, axum: Axum, warp: Warp,
                hyper_handler: HyperHandler, axum_handler: AxumHandler, warp_handler: WarpHandler,
                hyper_upgraded_by_app: HyperUpgradedByApp, axum_upgraded_by_app: AxumUpgradedByApp,
                warp_upgraded_by_app: WarpUpgradedByApp
            ]
            $($rule)*
        }
    };
}

/// For rules whose test uses the hub: its events, statistics, closes and drain, and the limits that it counts. These
/// concern one node. In a cluster of three, each node counts only its own peers, so the rules hold on a cluster of one.
macro_rules! on_every_adapter_with_one_hub {
    ($($rule:ident)*) => {
        on! {
            [
                memory: Memory, memory_node: MemoryNode, hyper: Hyper, tower: Tower, axum: Axum, warp: Warp,
                hyper_handler: HyperHandler, axum_handler: AxumHandler, warp_handler: WarpHandler,
                hyper_upgraded_by_app: HyperUpgradedByApp, axum_upgraded_by_app: AxumUpgradedByApp,
                warp_upgraded_by_app: WarpUpgradedByApp
            ]
            $($rule)*
        }
    };
}

/// For rules of the WebSocket protocol.
macro_rules! on_every_websocket {
    ($($rule:ident)*) => {
        on! {
            [
                hyper: Hyper, tower: Tower, axum: Axum, warp: Warp, standalone: Standalone, standalone_tls: StandaloneTls,
                hyper_handler: HyperHandler, axum_handler: AxumHandler, warp_handler: WarpHandler,
                hyper_upgraded_by_app: HyperUpgradedByApp, axum_upgraded_by_app: AxumUpgradedByApp,
                warp_upgraded_by_app: WarpUpgradedByApp
            ]
            $($rule)*
        }
    };
}

/// For rules of the handshake, where the hub's adapter completes it. An app that upgrades the connection itself gets
/// the handshake of its framework.
macro_rules! on_every_hub_handshake {
    ($($rule:ident)*) => {
        on! {
            [
                hyper: Hyper, tower: Tower, axum: Axum, warp: Warp, standalone: Standalone, standalone_tls: StandaloneTls,
                hyper_handler: HyperHandler, axum_handler: AxumHandler, warp_handler: WarpHandler
            ]
            $($rule)*
        }
    };
}

/// For rules of the handshake that need non-default settings or the hub.
macro_rules! on_every_mount {
    ($($rule:ident)*) => {
        on! {
            [
                hyper: Hyper, axum: Axum, warp: Warp,
                hyper_handler: HyperHandler, axum_handler: AxumHandler, warp_handler: WarpHandler
            ]
            $($rule)*
        }
    };
}

mod admission;
mod bad_input;
mod frames;
mod groups;
mod heartbeats;
mod http;
mod ice_servers;
mod join_limits;
mod keys;
mod limits;
mod links;
mod logout;
mod logs;
mod outboxes;
mod peer_values;
mod rates;
mod rejections;
mod server;
mod sessions;
mod shutdown;

use {
    on, on_every_adapter, on_every_adapter_with_one_hub, on_every_configurable_adapter, on_every_hub_handshake,
    on_every_mount, on_every_websocket,
};
