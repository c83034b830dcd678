//! Where the init and the supervisor begin, and the few symbols that a program without a C library needs.

use core::arch::{asm, global_asm};

// The kernel enters with the argument count and the argument pointers on the stack, and no return address.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym entry,
);

/// The arguments and the environment.
pub struct Arguments {
    stack: *const usize,
}

#[allow(dead_code, reason = "each side uses its part")]
impl Arguments {
    /// How many arguments there are.
    pub fn count(&self) -> usize {
        // SAFETY: `stack` is what the kernel left for this process: the count first.
        unsafe { *self.stack }
    }

    /// An argument, its NUL included.
    pub fn text(&self, index: usize) -> Option<&'static [u8]> {
        (index < self.count()).then(|| self.string(1 + index)).flatten()
    }

    /// A variable as `NAME=value`, its NUL included.
    pub fn variable(&self, index: usize) -> Option<&'static [u8]> {
        // Behind the arguments and the null word after them. Whoever asks goes on from the first to the one that is null.
        self.string(2 + self.count() + index)
    }

    /// The text at a word of the stack; `None` for a null word.
    fn string(&self, word: usize) -> Option<&'static [u8]> {
        // SAFETY: the word is among those of arguments and variables, or the null word after them.
        let text = unsafe { *self.stack.add(word) } as *const u8;
        if text.is_null() {
            return None;
        }
        let mut len = 0;
        // SAFETY: texts end with a NUL, at which the loop stops. Volatile, or this becomes a call of C's `strlen`.
        while unsafe { text.add(len).read_volatile() } != 0 {
            len += 1;
        }
        // SAFETY: so many bytes are there with the NUL; nobody changes them while the process lives.
        Some(unsafe { core::slice::from_raw_parts(text, len + 1) })
    }

    /// An argument as a decimal number.
    pub fn number(&self, index: usize) -> Option<u32> {
        // SAFETY: `stack` is what the kernel left for this process: the count, then that many pointers.
        let count = unsafe { *self.stack };
        if index >= count {
            return None;
        }
        // SAFETY: `index` is below the count.
        let mut text = unsafe { *self.stack.add(1 + index) } as *const u8;
        let mut value: Option<u32> = None;
        loop {
            // SAFETY: arguments end with a NUL, at which the loop stops.
            let byte = unsafe { *text };
            if byte == 0 {
                return value;
            }
            let digit = u32::from(byte.wrapping_sub(b'0'));
            if digit > 9 {
                return None;
            }
            value = Some(value.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            // SAFETY: the byte was not the NUL, so there is another one.
            text = unsafe { text.add(1) };
        }
    }
}

extern "C" fn entry(stack: *const usize) -> ! {
    crate::run(&Arguments { stack })
}

// What the compiler calls by name. Written in assembly, for in Rust it would recognize the loop and call them again.

/// C's `memcpy`.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller answers for both ranges; the direction flag is clear at every call.
    unsafe {
        asm!("rep movsb", inout("rdi") to => _, inout("rsi") from => _, inout("rcx") len => _,
            options(nostack, preserves_flags));
    }
    to
}

/// C's `memmove`.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= len {
        // SAFETY: a copy upwards does not overwrite what is still to be read. The caller answers for the ranges.
        return unsafe { memcpy(to, from, len) };
    }
    let last = len.wrapping_sub(1);
    let (end, source) = (to.wrapping_add(last), from.wrapping_add(last));
    // SAFETY: copies from the ends downwards, and leaves the direction flag clear.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rdi") end => _, inout("rsi") source => _, inout("rcx") len => _,
            options(nostack));
    }
    to
}

/// C's `memset`.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    // SAFETY: the caller answers for the range.
    unsafe {
        asm!("rep stosb", inout("rdi") to => _, in("al") value as u8, inout("rcx") len => _,
            options(nostack, preserves_flags));
    }
    to
}

/// C's `memcmp`.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    let mut i = 0;
    while i < len {
        // SAFETY: `i` is below the length, for which the caller answers. Volatile, or this becomes a call of itself.
        let x = unsafe { a.add(i).read_volatile() };
        // SAFETY: as above.
        let y = unsafe { b.add(i).read_volatile() };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
        i += 1;
    }
    0
}

/// C's `bcmp`.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(a, b, len) }
}
