//! `swarmd-shim`: the process beside each container. Everything is in `swarm_engine::shim`.

fn main() {
    std::process::exit(swarm_engine::shim::main());
}
