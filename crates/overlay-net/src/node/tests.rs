//! Whole data planes of several hosts on this machine, with real traffic.

mod balance;
mod cost;
mod ingress;
mod lifecycle;
mod mtu;
mod outside;
mod six;
mod vips;
mod world;
