//! Compiles the system call filter and keeps the result. Compiling takes some milliseconds and
//! depends only on the capabilities, so it is done once per node and set of capabilities; the
//! table itself is `profile::seccomp`.

use std::fs::{self, File};
use std::path::Path;

use libseccomp::ScmpSyscall;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext};

use super::process::mask;
use crate::plan::Plan;
use crate::profile::seccomp::{Condition, rows};

/// Part of the file name: raise it whenever the table or the compiler's settings change.
const VERSION: u32 = 1;

/// The filter program for the plan's capabilities.
pub fn load(plan: &Plan) -> Result<Vec<u8>, String> {
    let name = format!("{:010x}-{VERSION}.bpf", mask(&plan.capabilities));
    let path = plan.filters.join(name);
    if let Ok(program) = fs::read(&path)
        && !program.is_empty()
    {
        return Ok(program);
    }
    let partial = path.with_extension(std::process::id().to_string());
    let made = compile(&plan.capabilities, &plan.filters, &partial);
    let program = made.and_then(|()| fs::read(&partial).map_err(|e| e.to_string()));
    let kept = program.and_then(|program| {
        fs::rename(&partial, &path).map_err(|e| e.to_string())?;
        Ok(program)
    });
    kept.map_err(|e| format!("system call filter: {e}"))
}

fn compile(capabilities: &[String], dir: &Path, target: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|e| e.to_string())?;
    let file = File::create(target).map_err(|e| e.to_string())?;
    build(capabilities).and_then(|context| context.export_bpf(&file)).map_err(|e| e.to_string())
}

fn build(capabilities: &[String]) -> Result<ScmpFilterContext, libseccomp::error::SeccompError> {
    let mut context = ScmpFilterContext::new(ScmpAction::Errno(libc::EPERM))?;
    for arch in foreign_architectures() {
        context.add_arch(*arch)?;
    }
    // A binary tree instead of a chain of comparisons: calls late in the table stay fast.
    context.set_ctl_optimize(2)?;
    let (mut rows, hide_clone3) = rows(capabilities);
    rows.sort_by_key(|(name, condition)| (*name, condition.is_some()));
    rows.dedup();
    for (name, condition) in rows {
        // Names unknown to the installed library are calls no kernel it knows offers.
        let Ok(call) = ScmpSyscall::from_name(name) else { continue };
        match condition {
            None => context.add_rule(ScmpAction::Allow, call)?,
            Some(condition) => {
                context.add_rule_conditional(ScmpAction::Allow, call, &[compare(condition)])?
            }
        };
    }
    if hide_clone3 && let Ok(call) = ScmpSyscall::from_name("clone3") {
        context.add_rule(ScmpAction::Errno(libc::ENOSYS), call)?;
    }
    Ok(context)
}

fn compare(condition: Condition) -> ScmpArgCompare {
    match condition {
        Condition::Equal(arg, value) => ScmpArgCompare::new(arg, ScmpCompareOp::Equal, value),
        Condition::NotEqual(arg, value) => ScmpArgCompare::new(arg, ScmpCompareOp::NotEqual, value),
        Condition::NoBits(arg, bits) => {
            ScmpArgCompare::new(arg, ScmpCompareOp::MaskedEqual(bits), 0)
        }
    }
}

/// Binaries of the 32-bit cousin run too, under the same rules.
fn foreign_architectures() -> &'static [ScmpArch] {
    match std::env::consts::ARCH {
        "x86_64" => &[ScmpArch::X86, ScmpArch::X32],
        "aarch64" => &[ScmpArch::Arm],
        _ => &[],
    }
}
