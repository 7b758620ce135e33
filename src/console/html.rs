//! HTML that cannot contain what somebody else wrote, unless it was escaped.

/// A piece of HTML. Text becomes one only by being escaped; markup is only what this program was compiled with.
#[derive(Debug, Clone, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of this program.
    pub(super) fn own(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    /// Anybody's text, for an element's content or a quoted attribute.
    pub(super) fn text(text: &str) -> Self {
        let mut html = String::with_capacity(text.len());
        for letter in text.chars() {
            match letter {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                _ => html.push(letter),
            }
        }
        Self(html)
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Puts values in the place of each `{{name}}`. What is put in is not looked through again, so that a value may itself
/// read `{{name}}`.
pub(super) fn fill(template: &'static str, values: &[(&str, Html)]) -> Html {
    let mut html = String::with_capacity(template.len().saturating_mul(2));
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, tail)) = after.split_once("}}") else {
            break;
        };
        html.push_str(before);
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            html.push_str(&value.0);
        } else {
            // Left to be seen, by whoever forgot it and by the tests.
            html.push_str("{{");
            html.push_str(name);
            html.push_str("}}");
        }
        rest = tail;
    }
    html.push_str(rest);
    Html(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_markup_is_not() {
        let values = [
            ("text", Html::text("<b title=\"x\" id='y'>&amp;</b>")),
            ("own", Html::own("<hr>")),
        ];
        let html = fill("<p>{{text}}</p>{{own}}", &values).into_string();
        assert_eq!(
            html,
            "<p>&lt;b title=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;&lt;/b&gt;</p><hr>"
        );
    }

    #[test]
    fn values_are_not_looked_through() {
        let values = [("a", Html::text("{{b}}")), ("b", Html::text("no"))];
        assert_eq!(fill("{{a}}!", &values).into_string(), "{{b}}!");
    }

    #[test]
    fn what_nobody_gave_is_seen() {
        assert_eq!(fill("a {{b}} {{c", &[]).into_string(), "a {{b}} {{c");
    }
}
