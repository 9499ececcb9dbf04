//! What each target does with its bytes: the same that `tests/corpus.rs` does with the files of `corpus`.

#[path = "../../tests/rules/mod.rs"]
mod rules;

macro_rules! targets {
    ($($target:ident)*) => {
        $(
            pub fn $target(bytes: &[u8]) {
                rules::$target::check(bytes);
            }
        )*
    };
}

targets! { wire session group key url config }
