//! Stepping over a value: checked as strictly as one that is read, but nothing is kept of it.

use super::nesting::{Container, Nesting};
use super::{Fault, Malformed, Reader};

impl Reader<'_> {
    /// Steps over the value that begins here, however deep it nests, without recursion.
    pub(super) fn pass(&mut self) -> Result<(), Malformed> {
        let mut nesting = Nesting::default();
        loop {
            match self.cursor.peek_after_space() {
                Some(b'"') => self.cursor.skip_string()?,
                Some(b'-' | b'0'..=b'9') => self.cursor.skip_number()?,
                Some(b'{') => {
                    self.enter(Container::Object)?;
                    if self.cursor.peek_after_space() != Some(b'}') {
                        nesting.open(Container::Object);
                        self.pass_name()?;
                        continue;
                    }
                    self.leave(Container::Object);
                }
                Some(b'[') => {
                    self.enter(Container::Array)?;
                    if self.cursor.peek_after_space() != Some(b']') {
                        nesting.open(Container::Array);
                        continue;
                    }
                    self.leave(Container::Array);
                }
                Some(b't') => self.cursor.skip_literal("true")?,
                Some(b'f') => self.cursor.skip_literal("false")?,
                Some(b'n') => self.cursor.skip_literal("null")?,
                _ => return Err(self.cursor.unexpected()),
            }
            if self.pass_end(&mut nesting)? {
                return Ok(());
            }
        }
    }

    /// After a value: closes the containers that end here. True if that closed all of `nesting`,
    /// false if the cursor now stands before another value.
    #[inline(always)]
    fn pass_end(&mut self, nesting: &mut Nesting) -> Result<bool, Malformed> {
        while let Some(container) = nesting.innermost() {
            match (self.cursor.peek_after_space(), container) {
                (Some(b','), Container::Array) => {
                    self.cursor.bump();
                    return Ok(false);
                }
                (Some(b','), Container::Object) => {
                    self.cursor.bump();
                    self.pass_name()?;
                    return Ok(false);
                }
                (Some(b'}'), Container::Object) | (Some(b']'), Container::Array) => {
                    nesting.close();
                    self.leave(container);
                }
                _ => return Err(self.cursor.unexpected()),
            }
        }
        Ok(true)
    }

    /// Steps over the name of a member and its colon; decodes it only where duplicates are refused.
    #[inline(always)]
    fn pass_name(&mut self) -> Result<(), Malformed> {
        let Some(b'"') = self.cursor.peek_after_space() else {
            return Err(self.cursor.unexpected());
        };
        if let Some(names) = &mut self.names {
            let start = self.cursor.at();
            if !names.note(self.cursor.string()?) {
                return Err(self.cursor.fault(Fault::DuplicateKey, start));
            }
        } else {
            self.cursor.skip_string()?;
        }
        self.colon()
    }
}
