//! The device policy on version 2, where it is a program the kernel asks at every use of a device.
//! The program is assembled here from the same rules version 1 gets as text; libcontainer could do
//! it too, but only with libbpf and libelf. Called by the shim for each container's group.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

use crate::profile::device::Rule;

/// One instruction as the kernel reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Low half: destination.
    registers: u8,
    offset: i16,
    immediate: u32,
}

/// What the kernel calls the program with: a pointer to three numbers.
const CONTEXT: u8 = 1;
/// Where the program keeps what it compares, and its answer.
const ANSWER: u8 = 0;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

// Operation codes of <linux/bpf.h>, on 32 bits where there is a choice.
const LOAD: u8 = 0x61;
const MOVE: u8 = 0xbc;
const SET: u8 = 0xb4;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

const PROGRAM_LOAD: libc::c_long = 5;
const PROGRAM_ATTACH: libc::c_long = 8;
const PROGRAM_OF_DEVICES: u32 = 15;
const ATTACH_TO_DEVICES: u32 = 6;
/// Programs of the groups above are asked too.
const ALLOW_MULTIPLE: u32 = 2;

/// The kernel wants to know; only programs with certain helpers must be under the GPL.
const LICENSE: &std::ffi::CStr = c"MIT";

/// From now on the processes of this group, a directory, use no devices but these.
pub fn restrict(group: &Path, allowed: &[Rule]) -> io::Result<()> {
    // Before 5.11 programs count as locked memory; this process ends soon.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let program = load(&assemble(allowed))?;
    let group = File::open(group)?;
    let attributes = Attach {
        target: descriptor(&group),
        program: descriptor(&program),
        kind: ATTACH_TO_DEVICES,
        flags: ALLOW_MULTIPLE,
    };
    bpf(PROGRAM_ATTACH, &attributes).map(drop)
}

fn assemble(allowed: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        load_field(ACCESS, 0),
        two(MOVE, KIND, ACCESS),
        one(AND, KIND, 0xffff),
        one(SHIFT_RIGHT, ACCESS, 16),
        load_field(MAJOR, 4),
        load_field(MINOR, 8),
    ];
    for rule in allowed {
        program.extend(allow(rule));
    }
    program.extend([one(SET, ANSWER, 0), one(EXIT, 0, 0)]);
    program
}

/// Ends with yes if the rule holds, else goes on behind it.
fn allow(rule: &Rule) -> Vec<Instruction> {
    let kind = if rule.kind == 'b' { 1 } else { 2 };
    let bit = |letter| match letter {
        'm' => 1,
        'r' => 2,
        _ => 4,
    };
    let access: u32 = rule.access.chars().map(bit).fold(0, |all, bit| all | bit);
    let mut block = vec![
        one(JUMP_UNLESS_EQUAL, KIND, kind),
        two(MOVE, SCRATCH, ACCESS),
        one(AND, SCRATCH, !access),
        one(JUMP_UNLESS_EQUAL, SCRATCH, 0),
    ];
    block.extend(rule.major.map(|major| one(JUMP_UNLESS_EQUAL, MAJOR, major)));
    block.extend(rule.minor.map(|minor| one(JUMP_UNLESS_EQUAL, MINOR, minor)));
    block.extend([one(SET, ANSWER, 1), one(EXIT, 0, 0)]);
    let mut behind = i16::try_from(block.len()).unwrap_or(i16::MAX);
    for instruction in &mut block {
        behind -= 1;
        if instruction.code == JUMP_UNLESS_EQUAL {
            instruction.offset = behind;
        }
    }
    block
}

const fn one(code: u8, register: u8, immediate: u32) -> Instruction {
    Instruction { code, registers: register, offset: 0, immediate }
}

const fn two(code: u8, to: u8, from: u8) -> Instruction {
    Instruction { code, registers: to | from << 4, offset: 0, immediate: 0 }
}

const fn load_field(to: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD, registers: to | CONTEXT << 4, offset, immediate: 0 }
}

/// `union bpf_attr` as it is for loading.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// `union bpf_attr` as it is for attaching.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Load {
        kind: PROGRAM_OF_DEVICES,
        count: u32::try_from(program.len()).map_err(io::Error::other)?,
        program: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let raw = bpf(PROGRAM_LOAD, &attributes)?;
    // SAFETY: raw is a fresh descriptor nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes as it is told, all of them initialised, and copies
    // what they point to before it returns.
    let raw = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    match i32::try_from(raw) {
        Ok(raw) if raw >= 0 => Ok(raw),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As the kernel wants it; an open descriptor is never negative.
fn descriptor(file: &impl AsRawFd) -> u32 {
    file.as_raw_fd().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::device::ALLOWED;

    const BLOCK: u32 = 1;
    const CHARACTER: u32 = 2;
    const MAKE: u32 = 1;
    const READ: u32 = 2;
    const WRITE: u32 = 4;

    /// Runs the program as the kernel would.
    fn says_yes(program: &[Instruction], kind: u32, access: u32, device: (u32, u32)) -> bool {
        let fields = [access << 16 | kind, device.0, device.1];
        let mut registers = [0_u32; 11];
        let mut next = 0;
        loop {
            let Instruction { code, registers: pair, offset, immediate } = program[next];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            next += 1;
            match code {
                LOAD => registers[to] = fields[usize::try_from(offset).unwrap() / 4],
                MOVE => registers[to] = registers[from],
                SET => registers[to] = immediate,
                AND => registers[to] &= immediate,
                SHIFT_RIGHT => registers[to] >>= immediate,
                JUMP_UNLESS_EQUAL if registers[to] != immediate => {
                    next += usize::try_from(offset).unwrap();
                }
                JUMP_UNLESS_EQUAL => {}
                EXIT => return registers[0] == 1,
                _ => panic!("{code:#x} is no instruction"),
            }
        }
    }

    #[test]
    fn harmless_devices_are_used_and_any_node_is_made() {
        let program = assemble(ALLOWED);
        assert!(says_yes(&program, CHARACTER, READ | WRITE, (1, 3)));
        assert!(says_yes(&program, CHARACTER, READ, (136, 7)));
        assert!(says_yes(&program, CHARACTER, MAKE, (10, 200)));
        assert!(says_yes(&program, BLOCK, MAKE, (8, 0)));
    }

    #[test]
    fn disks_memory_and_kernel_messages_are_not_used() {
        let program = assemble(ALLOWED);
        assert!(!says_yes(&program, BLOCK, READ, (8, 0)));
        assert!(!says_yes(&program, BLOCK, READ | MAKE, (8, 0)));
        assert!(!says_yes(&program, BLOCK, READ, (1, 3)));
        assert!(!says_yes(&program, CHARACTER, READ, (1, 1)));
        assert!(!says_yes(&program, CHARACTER, WRITE, (1, 11)));
    }

    #[test]
    fn the_kernel_takes_the_program() {
        match load(&assemble(ALLOWED)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                println!("skipped: loading programs needs root");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
