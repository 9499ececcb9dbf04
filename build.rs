//! Compiles `proto/sigver.proto` without anybody's `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/sigver.proto");
    let schema = protox::compile(["proto/sigver.proto"], ["proto"])?;
    prost_build::Config::new()
        // A payload is a slice of the frame that it came in, not a copy.
        .bytes(["."])
        .compile_fds(schema)?;
    Ok(())
}
