//! The fuzz targets as functions: each passes its bytes to the test oracle of its name, as `tests/corpus.rs` does.

#[path = "../../tests/oracle/mod.rs"]
mod oracle;
// For the source of the records, which the oracle includes by path.
use sigver::protocol;

macro_rules! targets {
    ($($target:ident)*) => {
        $(
            pub fn $target(bytes: &[u8]) {
                oracle::$target::check(bytes);
            }
        )*
    };
}

targets! { wire session group key url config records response }
