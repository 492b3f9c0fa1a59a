//! Whole data planes of several hosts on this machine, with real traffic.

mod cost;
mod lifecycle;
mod outside;
mod vips;
mod world;
