//! A TOML document as JSON, remembering where everything stands, so that an error about a JSON pointer can show the
//! line its author wrote.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

use portcullis::config::ConfigError;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A document that is correct TOML.
pub(crate) struct Document {
    /// Its JSON form.
    pub(crate) json: Value,
    source: Source,
    places: HashMap<String, Range<usize>>,
}

/// A file's name and text.
pub(crate) struct Source {
    name: String,
    text: String,
}

impl Document {
    /// Reads TOML, or shows every place where it is none.
    pub(crate) fn read(name: &str, text: String) -> Result<Self, String> {
        let source = Source {
            name: name.to_owned(),
            text,
        };
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        if !errors.is_empty() {
            let faults = errors.iter().map(|error| {
                let start = source.text.len();
                (
                    error.span().unwrap_or(start..start),
                    error.message().to_owned(),
                )
            });
            return Err(source.show(faults.collect()));
        }
        let mut reading = Reading {
            text: &source.text,
            places: HashMap::new(),
            faults: Vec::new(),
        };
        let json = reading.table(table.get_ref(), "");
        let Reading { places, faults, .. } = reading;
        if faults.is_empty() {
            Ok(Self {
                json,
                source,
                places,
            })
        } else {
            Err(source.show(faults))
        }
    }

    /// Shows errors with their lines, in the order of the lines.
    pub(crate) fn show(&self, errors: &[ConfigError]) -> String {
        self.source.show(
            errors
                .iter()
                .map(|error| (self.place(&error.pointer), error.message.clone()))
                .collect(),
        )
    }

    /// Where a pointer's value stands, or the nearest table around it that was written.
    fn place(&self, pointer: &str) -> Range<usize> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                return place.clone();
            }
            match pointer.rsplit_once('/') {
                Some((parent, _)) => pointer = parent,
                None => return 0..0,
            }
        }
    }
}

/// The conversion on its way.
struct Reading<'t> {
    text: &'t str,
    places: HashMap<String, Range<usize>>,
    faults: Vec<(Range<usize>, String)>,
}

impl Reading<'_> {
    fn table(&mut self, table: &DeTable<'_>, pointer: &str) -> Value {
        let mut map = Map::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            // A table under its own header has lines of other keys in between: its name stands for it.
            let own_lines = value.get_ref().is_table() && !self.is_inline(value);
            let end = if own_lines {
                key.span().end
            } else {
                value.span().end
            };
            self.places
                .insert(pointer.clone(), key.span().start..end.max(key.span().end));
            map.insert(name.to_owned(), self.value(value, &pointer));
        }
        Value::Object(map)
    }

    fn is_inline(&self, value: &Spanned<DeValue<'_>>) -> bool {
        self.text
            .get(value.span())
            .is_some_and(|text| text.starts_with('{'))
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, pointer: &str) -> Value {
        let converted = match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.clone().into_owned())),
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .map(Value::from),
            DeValue::Float(float) => float.as_str().parse::<f64>().ok().and_then(finite),
            DeValue::Datetime(_) => None,
            DeValue::Array(items) => Some(self.list(items, pointer)),
            DeValue::Table(table) => Some(self.table(table, pointer)),
        };
        converted.unwrap_or_else(|| {
            let kind = value.get_ref().type_str();
            let message = format!(
                "this {kind} has no JSON form; write a number in range, or a string in quotes"
            );
            self.faults.push((value.span(), message));
            Value::Null
        })
    }

    fn list<'i>(
        &mut self,
        items: impl IntoIterator<Item = &'i Spanned<DeValue<'i>>>,
        pointer: &str,
    ) -> Value {
        let mut list = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let pointer = format!("{pointer}/{index}");
            self.places.insert(pointer.clone(), item.span());
            list.push(self.value(item, &pointer));
        }
        Value::Array(list)
    }
}

fn finite(number: f64) -> Option<Value> {
    serde_json::Number::from_f64(number).map(Value::Number)
}

impl Source {
    /// `FILE:LINE:COLUMN: message`, the line, and carets under the place.
    fn show(&self, mut faults: Vec<(Range<usize>, String)>) -> String {
        faults.sort_by_key(|(place, _)| place.start);
        let mut shown = String::new();
        for (place, message) in &faults {
            let start = self.boundary(place.start);
            let before = self.text.get(..start).unwrap_or_default();
            let number = before.matches('\n').count().saturating_add(1);
            let line_start = before
                .rfind('\n')
                .map_or(0, |newline| newline.saturating_add(1));
            let line = self
                .text
                .get(line_start..)
                .and_then(|rest| rest.lines().next())
                .unwrap_or_default();
            let lead = self.text.get(line_start..start).unwrap_or_default();
            let column = lead.chars().count().saturating_add(1);
            let marked = self
                .text
                .get(start..self.boundary(place.end))
                .and_then(|text| text.lines().next());
            let carets = "^".repeat(marked.map_or(1, |text| text.chars().count().max(1)));
            let indent: String = lead
                .chars()
                .map(|letter| if letter == '\t' { '\t' } else { ' ' })
                .collect();
            let gutter = number.to_string();
            let blank = " ".repeat(gutter.len());
            let _ = write!(
                shown,
                "{}:{number}:{column}: {message}\n  {gutter} | {line}\n  {blank} | {indent}{carets}\n",
                self.name
            );
        }
        let count = faults.len();
        let _ = write!(shown, "{count} error{}", if count == 1 { "" } else { "s" });
        shown
    }

    /// The end of the text, or the start of the character this byte belongs to.
    fn boundary(&self, index: usize) -> usize {
        let index = index.min(self.text.len());
        (0..=index)
            .rev()
            .find(|index| self.text.is_char_boundary(*index))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Document {
        Document::read("a.toml", text.to_owned()).unwrap()
    }

    fn error(pointer: &str) -> ConfigError {
        ConfigError {
            pointer: pointer.to_owned(),
            message: "wrong".to_owned(),
        }
    }

    const TEXT: &str = "# é\n[servers.jira]\nurl = \"x\"\ntools = { allow = [\"a\", \"bé\", \"c\"] }\n\
                        [servers.jira.alias.\"a/b~c\"]\n\tname = 'n'\n[[rules]]\nx = 1\n[[rules]]\nx = 2\n";

    #[test]
    fn json_is_what_the_toml_says() {
        let json =
            read("a = 1\nb = 0x1f\nc = 1_000\nd = -1.5\ne = [true, 'x']\n[f.g]\nh.i = 'j'\n").json;
        let expected = serde_json::json!({
            "a": 1, "b": 31, "c": 1000, "d": -1.5, "e": [true, "x"], "f": { "g": { "h": { "i": "j" } } },
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_pointer_shows_its_line() {
        let document = read(TEXT);
        for (pointer, place, marked) in [
            ("/servers/jira", "a.toml:2:10:", "^^^^"),
            ("/servers/jira/missing/deeper", "a.toml:2:10:", "^^^^"),
            ("/servers/jira/url", "a.toml:3:1:", "^^^^^^^^^"),
            (
                "/servers/jira/tools/allow",
                "a.toml:4:11:",
                "^^^^^^^^^^^^^^^^^^^^^^^^",
            ),
            ("/servers/jira/tools/allow/1", "a.toml:4:25:", "^^^^"),
            ("/servers/jira/alias/a~1b~0c", "a.toml:5:21:", "^^^^^^^"),
            (
                "/servers/jira/alias/a~1b~0c/name",
                "a.toml:6:2:",
                "^^^^^^^^^^",
            ),
            ("/rules/1/x", "a.toml:10:1:", "^^^^^"),
            ("", "a.toml:1:1:", "^"),
            ("/nowhere", "a.toml:1:1:", "^"),
        ] {
            let shown = document.show(&[error(pointer)]);
            assert!(shown.starts_with(place), "{pointer}\n{shown}");
            let carets = shown
                .lines()
                .nth(2)
                .unwrap()
                .trim_start_matches([' ', '|', '\t']);
            assert_eq!(carets, marked, "{pointer}\n{shown}");
        }
    }

    #[test]
    fn carets_stand_under_the_place() {
        let shown = read(TEXT).show(&[
            error("/servers/jira/alias/a~1b~0c/name"),
            error("/servers/jira/url"),
        ]);
        assert_eq!(
            shown,
            "a.toml:3:1: wrong\n  3 | url = \"x\"\n    | ^^^^^^^^^\n\
             a.toml:6:2: wrong\n  6 | \tname = 'n'\n    | \t^^^^^^^^^^\n2 errors"
        );
    }

    #[test]
    fn bad_toml_shows_every_place() {
        let shown = Document::read("a.toml", "a = \nb = 1\nb = 2\n[c\n".to_owned())
            .err()
            .unwrap();
        for place in ["a.toml:1:", "a.toml:3:1:", "a.toml:4:"] {
            assert!(shown.contains(place), "{shown}");
        }
    }

    #[test]
    fn what_json_cannot_say_is_shown() {
        let text = "a = 1979-05-27\nb = nan\nc = 99999999999999999999\n";
        let shown = Document::read("a.toml", text.to_owned()).err().unwrap();
        assert!(shown.ends_with("3 errors"), "{shown}");
        assert!(
            shown.contains("a.toml:1:5: this datetime has no JSON form"),
            "{shown}"
        );
    }

    #[test]
    fn an_empty_file_is_a_document() {
        let document = read("");
        assert!(
            document
                .show(&[error("/x")])
                .starts_with("a.toml:1:1: wrong\n")
        );
    }
}
