//! The Lua scripts, and the commands that run them.

use std::sync::LazyLock;

use ::redis::{Cmd, cmd};

pub(super) static STEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("step.lua")));
pub(super) static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("beat.lua")));
pub(super) static SEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("send.lua")));
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("read.lua")));
pub(super) static CHECK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("check.lua")));

/// A script. The engine keeps the scripts that it has run, by the SHA-1 of their text.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

/// A command that concerns one key.
pub(super) struct Call {
    pub(super) key: String,
    command: Cmd,
    /// The command for an engine that does not have the script.
    loading: Option<LoadingCommand>,
}

struct LoadingCommand {
    script: &'static Script,
    args: Vec<Vec<u8>>,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: ::redis::Script::new(text).get_hash().to_owned() }
    }

    /// Creates a call of this script.
    pub(super) fn call(&'static self, key: String, args: Vec<Vec<u8>>) -> Call {
        let command = script_command("EVALSHA", &self.hash, &key, &args);
        Call { key, command, loading: Some(LoadingCommand { script: self, args }) }
    }
}

impl Call {
    /// Creates a call of a command without a script.
    pub(super) fn plain(key: String, command: Cmd) -> Self {
        Self { key, command, loading: None }
    }

    pub(super) fn command(&self) -> &Cmd {
        &self.command
    }

    /// Returns the command that also loads the script. `None` if the call has no script.
    pub(super) fn loading_command(&self) -> Option<Cmd> {
        let LoadingCommand { script, args } = self.loading.as_ref()?;
        Some(script_command("EVAL", script.text, &self.key, args))
    }
}

fn script_command(name: &str, script: &str, key: &str, args: &[Vec<u8>]) -> Cmd {
    let mut command = cmd(name);
    command.arg(script).arg(1).arg(key).arg(args);
    command
}
