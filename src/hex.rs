//! Hexadecimal digits, without the formatting machinery: ids are made for every request.

/// Writes bytes as lower-case digits.
pub fn push(out: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(DIGITS.get(usize::from(nibble)));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_digits_a_byte() {
        let mut out = String::from("x");
        super::push(&mut out, &[0, 0x0f, 0xa0, 0xff]);
        assert_eq!(out, "x000fa0ff");
    }
}
