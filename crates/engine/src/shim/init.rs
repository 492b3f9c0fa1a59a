//! The optional small init: pid 1 of a container that asks for it. It runs the command as its
//! child, passes signals on to it, reaps orphans, and ends as the command ends.

use std::os::fd::RawFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use super::process::{exit, tell};
use crate::wire::Failure;

/// Splits this process in two: returns in the child, which goes on to run the command; the
/// parent stays as init and never returns.
pub fn split(status: RawFd) {
    let all = SigSet::all();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None);
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Child) => {
            // A session of its own lets a terminal's signals reach the command's group only.
            let _ = nix::unistd::setsid();
        }
        Ok(ForkResult::Parent { child }) => {
            // Only the child's copy may keep the status pipe open.
            let _ = nix::unistd::close(status);
            let _ = nix::sys::prctl::set_name(c"init");
            serve(child, &all)
        }
        Err(error) => {
            tell(status, &Failure { message: format!("fork: {}", error.desc()), code: 0 });
            exit(126)
        }
    }
}

fn serve(child: Pid, signals: &SigSet) -> ! {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => reap(child),
            Ok(signal) => {
                let _ = kill(child, signal);
            }
            Err(_) => {}
        }
    }
}

fn reap(child: Pid) {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => exit(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => exit(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
