//! End-to-end tests: real daemons in a lab on this kernel, driven as a user drives them. One module per topic of the
//! product; each test has a lab of its own and removes it.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test states its expectations so")]

mod addresses;
mod bad_input;
mod cluster;
mod demo;
mod dns;
mod engine;
mod failover;
mod identity;
mod images;
mod ingress;
mod lab;
mod logs;
mod membership;
mod mesh;
mod network;
mod recovery;
mod secrets;
mod service;
mod stack;
mod tour;
mod update;
