//! With the feature `codegen`, compiles `proto/sigver.proto` for `tests/codegen.rs`. Does not need `protoc`.

#[cfg(feature = "codegen")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/sigver.proto");
    let schema = protox::compile(["proto/sigver.proto"], ["proto"])?;
    prost_build::Config::new()
        // A payload becomes a slice of the received frame instead of a copy.
        .bytes(["."])
        .compile_fds(schema)?;
    Ok(())
}

#[cfg(not(feature = "codegen"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
