//! The engine against the real kernel: containers of a busybox root file system, made in a
//! temporary directory. Needs root and the Debian package `busybox-static`; says so and passes
//! when either is missing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests state their expectations by unwrapping"
)]

mod adoption;
mod confinement;
mod lifecycle;
mod node;
mod storage;
