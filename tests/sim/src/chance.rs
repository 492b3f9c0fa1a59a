//! Where all randomness of a simulated run comes from: the C library's `getrandom`, replaced in this
//! binary.
//!
//! Hash maps, the runtime's choices among what is ready, election timeouts and ids are all drawn
//! from it in the end. A thread that was given a seed gets a stream of that seed; others get the
//! kernel's.

use std::cell::Cell;
use std::ffi::{c_uint, c_void};

thread_local! {
    static STREAM: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From here on this thread's randomness follows from `seed`. Before anything else on it.
pub fn seed(seed: u64) {
    STREAM.set(Some(seed));
}

/// SplitMix64: one state, one output.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Takes the place of the C library's function of this name.
///
/// # Safety
///
/// `buffer` must be valid for writes of `length` bytes, as for the original.
// SAFETY: the name is the C library's, and so are the signature and what it promises.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let Some(mut state) = STREAM.get() else {
        // SAFETY: the arguments are passed on as the caller, who vouches for them, gave them.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    };
    // SAFETY: the caller vouches for `length` writable bytes; they are written before any is read.
    let bytes = unsafe {
        std::ptr::write_bytes(buffer.cast::<u8>(), 0, length);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
    };
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next(&mut state).to_le_bytes()[..chunk.len()]);
    }
    STREAM.set(Some(state));
    length as isize
}
