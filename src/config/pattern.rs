//! Patterns for tool names.

/// A pattern in which `*` stands for any run of characters, and everything else for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern from its text. Every text is one; the document's bounds are checked where it is read.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole name matches. Each piece between stars is searched once and from where the last one ended,
    /// so that the time is linear in the name and there is nothing to backtrack.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else {
            return self.0 == name;
        };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut left) = name
            .strip_prefix(first)
            .and_then(|name| name.strip_suffix(last))
        else {
            return false;
        };
        for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
            match left.split_once(piece) {
                Some((_, after)) => left = after,
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_any_run() {
        for (pattern, name) in [
            ("get", "get"),
            ("*", ""),
            ("*", "anything"),
            ("create_*", "create_"),
            ("create_*", "create_issue"),
            ("*_issue", "create_issue"),
            ("a*b*c", "abc"),
            ("a*b*c", "a1b2b3c"),
            ("**", "x"),
            ("*b*b*", "abb"),
            ("é*", "éa"),
        ] {
            assert!(Pattern::new(pattern).matches(name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("get", "gets"),
            ("get", "Get"),
            ("create_*", "xcreate_a"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("*b*b*", "ab"),
            ("a?c", "abc"),
            ("[a]", "a"),
            ("", "a"),
        ] {
            assert!(!Pattern::new(pattern).matches(name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_stay_linear() {
        let pattern = Pattern::new(&"a*".repeat(5_000));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(4_000))));
        assert!(pattern.matches(&"a".repeat(100_000)));
    }

    /// The definition, in exponential time.
    fn defined(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|skip| defined(rest, &name[skip..])),
            Some((letter, rest)) => name.first() == Some(letter) && defined(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*]{0,7}", name in "[ab]{0,9}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::new(&pattern).matches(&name), defined(&letters(&pattern), &letters(&name)));
        }
    }
}
