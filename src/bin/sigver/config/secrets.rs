//! The secrets of signed keys and of TURN servers, from files or the environment, and other secrets in files. A flag
//! would show them in the process list.

use std::env;
use std::path::{Path, PathBuf};

use sigver::SignedKeys;

use super::error::ConfigError;

/// The settings that have the secrets of one purpose: one secret, or two while one replaces the other.
pub(super) struct Secrets {
    /// The setting that names their files, and its flag.
    setting: &'static str,
    option: &'static str,
    primary_variable: &'static str,
    secondary_variable: &'static str,
}

pub(super) const SIGNED_KEYS: Secrets = Secrets {
    setting: "signed_keys_secret_files",
    option: "--signed-keys-secret-file",
    primary_variable: "SIGVER_SIGNED_KEYS_SECRET",
    secondary_variable: "SIGVER_SIGNED_KEYS_SECONDARY_SECRET",
};

pub(super) const TURN: Secrets = Secrets {
    setting: "turn_secret_files",
    option: "--turn-secret-file",
    primary_variable: "SIGVER_TURN_SECRET",
    secondary_variable: "SIGVER_TURN_SECONDARY_SECRET",
};

/// A secret, and the file or variable that contains it. There is no `Debug`.
#[derive(PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) origin: String,
    pub(super) bytes: Vec<u8>,
}

impl Secrets {
    /// Returns the secrets of these files, or else of the environment, the primary one first. Empty if there are none.
    pub(super) fn read(&self, files: Option<&[PathBuf]>) -> Result<Vec<Secret>, ConfigError> {
        match files {
            // An empty list must not admit every client.
            Some(files) if !(1..=2).contains(&files.len()) => {
                Err(ConfigError::SecretCount { setting: self.setting, count: files.len() })
            }
            Some(files) => {
                let read = |file: &PathBuf| {
                    let bytes = read(self.option, file)?;
                    Ok(Secret { origin: file.display().to_string(), bytes })
                };
                files.iter().map(read).collect()
            }
            None => self.read_environment(),
        }
    }

    /// Returns whether the environment contains a secret.
    pub(super) fn are_in_environment(&self) -> bool {
        [self.primary_variable, self.secondary_variable].iter().any(|name| env::var_os(name).is_some())
    }

    fn read_environment(&self) -> Result<Vec<Secret>, ConfigError> {
        let variable = |name: &str| {
            let bytes = env::var_os(name)?.into_encoded_bytes();
            Some(Secret { origin: name.to_owned(), bytes })
        };
        match (variable(self.primary_variable), variable(self.secondary_variable)) {
            (None, Some(_)) => {
                Err(ConfigError::Requires { given: self.secondary_variable, missing: self.primary_variable })
            }
            (primary, secondary) => Ok(primary.into_iter().chain(secondary).collect()),
        }
    }
}

/// Returns a check of signed keys with the secrets of these files, or else of the environment. `None` if there are no
/// secrets.
pub(super) fn signed_keys(files: Option<&[PathBuf]>) -> Result<Option<SignedKeys>, ConfigError> {
    let mut secrets = SIGNED_KEYS.read(files)?.into_iter();
    let Some(Secret { origin, bytes }) = secrets.next() else { return Ok(None) };
    let mut keys = SignedKeys::new(bytes).map_err(|error| ConfigError::Secret { origin, error })?;
    if let Some(Secret { origin, bytes }) = secrets.next() {
        keys = keys.with_secondary_secret(bytes).map_err(|error| ConfigError::Secret { origin, error })?;
    }
    Ok(Some(keys))
}

/// Reads a file without its trailing line break, which editors and `echo` add.
pub(super) fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = std::fs::read(path).map_err(|error| ConfigError::Unreadable {
        option,
        path: path.to_owned(),
        error: error.to_string(),
    })?;
    for end in [b'\n', b'\r'] {
        bytes.pop_if(|last| *last == end);
    }
    Ok(bytes)
}
