//! The engine against the real kernel: containers of a busybox root file system, made in a
//! temporary directory. Needs root and the Debian package `busybox-static`; says so and passes
//! when either is missing.

mod adoption;
mod confinement;
mod lifecycle;
mod node;
mod storage;
