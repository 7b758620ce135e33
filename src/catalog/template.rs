//! Resource templates (RFC 6570) as a question: could this URI have come from it?

/// A template reduced to literal parts and gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// `{name}`: anything without a slash.
    Segment,
    /// `{+name}`, `{/name*}`, `{?name}` and the like: anything.
    Rest,
}

impl Template {
    /// Reads a template. An expression that is never closed is a literal.
    #[must_use]
    pub fn parse(template: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((literal, tail)) = rest.split_once('{') {
            let Some((expression, tail)) = tail.split_once('}') else {
                break;
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let is_simple = expression.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            parts.push(if is_simple && !expression.ends_with('*') {
                Part::Segment
            } else {
                Part::Rest
            });
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Self { parts }
    }

    /// Whether a URI could have come from it. Each gap takes as little as it can; the last literal is anchored.
    #[must_use]
    pub fn matches(&self, uri: &str) -> bool {
        let mut rest = uri;
        let mut gap: Option<&Part> = None;
        let last = self.parts.len().saturating_sub(1);
        for (index, part) in self.parts.iter().enumerate() {
            let Part::Literal(literal) = part else {
                gap = match (gap, part) {
                    (Some(Part::Rest), _) => Some(&Part::Rest),
                    _ => Some(part),
                };
                continue;
            };
            let at = match gap {
                None => rest.starts_with(literal.as_str()).then_some(0),
                Some(_) if index == last => rest
                    .ends_with(literal.as_str())
                    .then(|| rest.len().saturating_sub(literal.len())),
                Some(_) => rest.find(literal.as_str()),
            };
            let Some((filled, tail)) = at.and_then(|at| rest.split_at_checked(at)) else {
                return false;
            };
            if matches!(gap, Some(Part::Segment)) && (filled.is_empty() || filled.contains('/')) {
                return false;
            }
            let Some(tail) = tail.strip_prefix(literal.as_str()) else {
                return false;
            };
            rest = tail;
            gap = None;
        }
        match gap {
            None => rest.is_empty(),
            Some(Part::Segment) => !rest.is_empty() && !rest.contains('/'),
            Some(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_what_they_expand_to() {
        let table = [
            ("test://template/{id}/data", "test://template/7/data", true),
            (
                "test://template/{id}/data",
                "test://template/7/8/data",
                false,
            ),
            ("test://template/{id}/data", "test://template//data", false),
            (
                "test://template/{id}/data",
                "test://template/7/data/more",
                false,
            ),
            ("file:///{+path}", "file:///a/b/c", true),
            ("drive://{folder}/{file}", "drive://a/b", true),
            ("drive://{folder}/{file}", "drive://a/b/c", false),
            ("exact://x", "exact://x", true),
            ("exact://x", "exact://xy", false),
            ("search://{q}{?page}", "search://abc?page=2", true),
            ("broken://{open", "broken://{open", true),
        ];
        for (template, uri, expected) in table {
            assert_eq!(
                Template::parse(template).matches(uri),
                expected,
                "{template} {uri}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn matching_ends_whatever_the_input(template in ".{0,60}", uri in ".{0,60}") {
            let _ = Template::parse(&template).matches(&uri);
        }

        #[test]
        fn an_expansion_matches(id in "[a-z0-9%._-]{1,20}") {
            let uri = format!("x://a/{id}/b");
            let template = Template::parse("x://a/{id}/b");
            proptest::prop_assert!(template.matches(&uri));
        }
    }
}
