//! The doors: each turns somebody's socket into a [`Transport`](crate::Transport) and hands it to the hub.

pub mod memory;
