//! The contract: every rule that can be seen from outside, written once and run over every door.
//!
//! In memory the clock is paused. Over TCP it runs, and nothing waits for it: a rule whose times can be seen is
//! given short ones there.

#![cfg(all(feature = "axum", feature = "cli", feature = "hyper", feature = "signed-keys", feature = "warp"))]

/// Makes a test of each rule for each door named.
macro_rules! over {
    ([$($test:ident: $kind:ident),*] $($rule:ident)*) => { over!(@each [$($test: $kind),*] $($rule)*); };
    (@each $doors:tt $($rule:ident)*) => { $(over!(@rule $doors $rule);)* };
    (@rule [$($test:ident: $kind:ident),*] $rule:ident) => {
        mod $rule {
            use crate::door::Kind;
            $(
                #[tokio::test]
                async fn $test() {
                    crate::door::in_time(Kind::$kind, super::$rule(Kind::$kind)).await;
                }
            )*
        }
    };
}

/// For rules that hold everywhere.
macro_rules! over_every_door {
    ($($rule:ident)*) => {
        over! {
            [
                memory: Memory, hyper: Hyper, axum: Axum, warp: Warp, stand_alone: StandAlone, tls: StandAloneTls,
                app_hyper: AppHyper, app_axum: AppAxum, app_warp: AppWarp
            ]
            $($rule)*
        }
    };
}

/// For rules that need a hub with other limits than the default ones.
macro_rules! over_every_mount {
    ($($rule:ident)*) => {
        over! {
            [
                memory: Memory, hyper: Hyper, axum: Axum, warp: Warp,
                app_hyper: AppHyper, app_axum: AppAxum, app_warp: AppWarp
            ]
            $($rule)*
        }
    };
}

/// For rules of WebSocket.
macro_rules! over_every_websocket {
    ($($rule:ident)*) => {
        over! {
            [
                hyper: Hyper, axum: Axum, warp: Warp, stand_alone: StandAlone, tls: StandAloneTls,
                app_hyper: AppHyper, app_axum: AppAxum, app_warp: AppWarp
            ]
            $($rule)*
        }
    };
}

/// For rules of the handshake, which an app's own upgrade has its framework's way with, and of what comes after it.
macro_rules! over_every_socket {
    ($($rule:ident)*) => {
        over! { [hyper: Hyper, axum: Axum, warp: Warp, stand_alone: StandAlone, tls: StandAloneTls] $($rule)* }
    };
}

mod bad_input;
mod departure;
mod door;
mod entrance;
mod frames;
mod groups;
mod heartbeats;
mod http;
mod keys;
mod limits;
mod links;

use {over, over_every_door, over_every_mount, over_every_socket, over_every_websocket};
