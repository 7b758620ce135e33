//! Eight bytes at a time: WebAssembly has no vector instructions here, but a `u64` is one register.
//!
//! Each search marks the bytes it looks for by their highest bit. Above the first marked byte the
//! marks may be wrong (a subtraction borrows from the next byte), so only the lowest mark counts.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of `word` that are less than `limit`, which is at most 128.
#[inline(always)]
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(repeat(limit)) & !word & HIGHS
}

/// Marks the bytes of `word` that equal `byte`.
#[inline(always)]
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ repeat(byte), 1)
}

#[inline(always)]
const fn repeat(byte: u8) -> u64 {
    ONES.wrapping_mul(byte as u64)
}

/// How many bytes at the beginning of `bytes` a JSON string holds unescaped: all before the first
/// quote, backslash or control character.
#[inline(always)]
pub(crate) fn plain_length(bytes: &[u8]) -> usize {
    length_until(
        bytes,
        |word| equal(word, b'"') | equal(word, b'\\') | below(word, b' '),
        |byte| matches!(byte, b'"' | b'\\' | 0..b' '),
    )
}

/// How many bytes stand before the first line feed or carriage return.
#[inline]
pub(crate) fn line_length(bytes: &[u8]) -> usize {
    length_until(
        bytes,
        |word| equal(word, b'\n') | equal(word, b'\r'),
        |byte| matches!(byte, b'\n' | b'\r'),
    )
}

#[inline(always)]
fn length_until(bytes: &[u8], marks: impl Fn(u64) -> u64, stops: impl Fn(u8) -> bool) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut length = 0_usize;
    for word in words {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            // The lowest mark is bit 7 of its byte; an eighth of its position is that byte's index.
            return length.saturating_add((found.trailing_zeros() >> 3) as usize);
        }
        length = length.saturating_add(8);
    }
    let rest = tail
        .iter()
        .position(|&byte| stops(byte))
        .unwrap_or(tail.len());
    length.saturating_add(rest)
}
