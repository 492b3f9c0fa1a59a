//! End-to-end tests: real daemons in a lab on this kernel, driven as a user drives them. One module per topic of the
//! product; each test has a lab of its own and removes it.
#![forbid(unsafe_code)]

mod lab;
