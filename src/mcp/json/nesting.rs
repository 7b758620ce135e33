//! Which kind of container is open at each level, one bit per level.

/// A stack of bits. The innermost 64 levels need no allocation, and deeper ones one bit each, so
/// even the deepest document costs less than its own brackets.
#[derive(Default)]
pub(super) struct Nesting {
    inner: u64,
    inner_levels: u8,
    outer: Vec<u64>,
}

/// What is open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Object,
    Array,
}

impl Nesting {
    /// A container begins.
    #[inline(always)]
    pub(super) fn open(&mut self, container: Container) {
        if self.inner_levels == 64 {
            self.outer.push(self.inner);
            self.inner_levels = 0;
        }
        self.inner = (self.inner << 1) | u64::from(container == Container::Object);
        self.inner_levels = self.inner_levels.saturating_add(1);
    }

    /// The innermost container ends.
    #[inline(always)]
    pub(super) fn close(&mut self) {
        self.inner >>= 1;
        self.inner_levels = self.inner_levels.saturating_sub(1);
        if self.inner_levels == 0
            && let Some(levels) = self.outer.pop()
        {
            self.inner = levels;
            self.inner_levels = 64;
        }
    }

    /// The innermost container, if one is open.
    #[inline(always)]
    pub(super) fn innermost(&self) -> Option<Container> {
        if self.inner_levels == 0 {
            None
        } else if self.inner & 1 == 1 {
            Some(Container::Object)
        } else {
            Some(Container::Array)
        }
    }
}
