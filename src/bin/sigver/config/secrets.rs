//! The secrets of signed keys, from files or the environment, and other secrets in files. A flag would show them in the
//! process list.

use std::env;
use std::path::{Path, PathBuf};

use sigver::SignedKeys;

use super::error::ConfigError;

const PRIMARY_VARIABLE: &str = "SIGVER_SIGNED_KEYS_SECRET";
/// A second secret that is also accepted while the primary one replaces it.
const SECONDARY_VARIABLE: &str = "SIGVER_SIGNED_KEYS_SECONDARY_SECRET";

/// A secret, and the file or variable that contains it.
struct Secret {
    origin: String,
    bytes: Vec<u8>,
}

/// Returns a check of signed keys with the secrets of these files, or else of the environment. `None` if there are no
/// secrets.
pub(super) fn signed_keys(files: Option<&[PathBuf]>) -> Result<Option<SignedKeys>, ConfigError> {
    let secrets = match files {
        // An empty list must not admit every client.
        Some(files) if !(1..=2).contains(&files.len()) => return Err(ConfigError::SecretCount(files.len())),
        Some(files) => {
            let read = |file: &PathBuf| {
                let bytes = read("--signed-keys-secret-file", file)?;
                Ok::<_, ConfigError>(Secret { origin: file.display().to_string(), bytes })
            };
            files.iter().map(read).collect::<Result<Vec<_>, _>>()?
        }
        None => from_environment()?,
    };
    let mut secrets = secrets.into_iter();
    let Some(Secret { origin, bytes }) = secrets.next() else { return Ok(None) };
    let mut keys = SignedKeys::new(bytes).map_err(|error| ConfigError::Secret { origin, error })?;
    if let Some(Secret { origin, bytes }) = secrets.next() {
        keys = keys.with_secondary_secret(bytes).map_err(|error| ConfigError::Secret { origin, error })?;
    }
    Ok(Some(keys))
}

/// Returns whether the environment contains a secret.
pub(super) fn in_environment() -> bool {
    [PRIMARY_VARIABLE, SECONDARY_VARIABLE].iter().any(|name| env::var_os(name).is_some())
}

fn from_environment() -> Result<Vec<Secret>, ConfigError> {
    let variable = |name: &str| {
        let bytes = env::var_os(name)?.into_encoded_bytes();
        Some(Secret { origin: name.to_owned(), bytes })
    };
    match (variable(PRIMARY_VARIABLE), variable(SECONDARY_VARIABLE)) {
        (None, Some(_)) => Err(ConfigError::Requires { given: SECONDARY_VARIABLE, missing: PRIMARY_VARIABLE }),
        (primary, secondary) => Ok(primary.into_iter().chain(secondary).collect()),
    }
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
