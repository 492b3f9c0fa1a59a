//! Compiles `proto/` with a pure Rust compiler: a fresh machine has no `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;

const FILES: [&str; 10] = [
    "types.proto",
    "specs.proto",
    "objects.proto",
    "control.proto",
    "dispatcher.proto",
    "ca.proto",
    "raft.proto",
    "watch.proto",
    "logs.proto",
    "node.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [root])?;
    // What calls there are: read by `rpc`.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Answers carry secrets and keys: their `Debug` is written by hand in `redact`.
        .skip_debug(
            [
                "SecretSpec",
                "ConfigSpec",
                "SecretAssignment",
                "RootCa",
                "RootRotation",
                "RotateRootCaRequest",
                "JoinTokens",
                "IssueCertificateRequest",
                "JoinRequest",
                "PullImageRequest",
                "ConfigAssignment",
                "Custody",
                "GetUnlockKeyResponse",
                "GetRecoveryKeyResponse",
                "UnlockRequest",
            ]
            .map(|m| format!(".swarm.v1.{m}")),
        )
        // Without boxes every object would be as large as the largest kind.
        .boxed(".swarm.v1.Object.object")
        .btree_map(".")
        .bytes(".swarm.v1.BlobChunk")
        .compile_fds(descriptors)?;
    Ok(())
}
