//! A cursor into a document: a value that knows its way from the root, so that every fault has a pointer and nothing
//! is allocated for the places that are right.

use serde_json::{Map, Value};

use super::fault::Faults;
use super::spelling::nearest;

#[derive(Clone, Copy)]
enum Step<'v> {
    Root,
    Key(&'v str),
    Index(usize),
}

/// One value of the document and the way to it.
#[derive(Clone, Copy)]
pub(super) struct Node<'v, 'p> {
    value: &'v Value,
    step: Step<'v>,
    parent: Option<&'p Node<'v, 'p>>,
    faults: &'p Faults,
}

/// A table whose keys are known.
pub(super) struct Table<'v, 'p> {
    node: Node<'v, 'p>,
    entries: &'v Map<String, Value>,
}

impl<'v, 'p> Node<'v, 'p> {
    pub(super) fn root(value: &'v Value, faults: &'p Faults) -> Self {
        Self {
            value,
            step: Step::Root,
            parent: None,
            faults,
        }
    }

    pub(super) fn value(&self) -> &'v Value {
        self.value
    }

    /// Notes an error about this value.
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.faults.add(self.pointer(), message.into());
    }

    /// Notes an error about a place whose node is gone.
    pub(super) fn fault_at(&self, pointer: &str, message: String) {
        self.faults.add(pointer.to_owned(), message);
    }

    /// Notes that this value is of the wrong kind.
    fn wanted(&self, kind: &str) {
        self.fault(format!("expected {kind}, found {}", kind_of(self.value)));
    }

    /// JSON pointer to this value.
    pub(super) fn pointer(&self) -> String {
        let mut pointer = self.parent.map(Node::pointer).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Key(key) => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Step::Index(index) => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
        }
        pointer
    }

    fn child<'c>(&'c self, step: Step<'v>, value: &'v Value) -> Node<'v, 'c> {
        Node {
            value,
            step,
            parent: Some(self),
            faults: self.faults,
        }
    }

    /// A table with these keys; others are faults.
    pub(super) fn table(&self, known: &[&str]) -> Option<Table<'v, 'p>> {
        let table = self.open_table()?;
        table.refuse_unknown(known);
        Some(table)
    }

    /// A table whose keys depend on one of them: call [`Table::refuse_unknown`] once it is read.
    pub(super) fn open_table(&self) -> Option<Table<'v, 'p>> {
        if let Value::Object(entries) = self.value {
            return Some(Table {
                node: *self,
                entries,
            });
        }
        self.wanted("a table");
        None
    }

    /// The entries of a table whose keys the administrator chooses, sorted by key.
    pub(super) fn entries(&self, count_max: usize, what: &str) -> Vec<(&'v str, Node<'v, '_>)> {
        let Value::Object(entries) = self.value else {
            self.wanted("a table");
            return Vec::new();
        };
        self.bound(entries.len(), count_max, what);
        let mut nodes: Vec<_> = entries
            .iter()
            .take(count_max)
            .map(|(key, value)| (key.as_str(), self.child(Step::Key(key), value)))
            .collect();
        nodes.sort_by_key(|(key, _)| *key);
        nodes
    }

    /// The items of a list.
    pub(super) fn items(&self, count_max: usize, what: &str) -> Vec<Node<'v, '_>> {
        let Value::Array(items) = self.value else {
            self.wanted("a list");
            return Vec::new();
        };
        self.bound(items.len(), count_max, what);
        items
            .iter()
            .take(count_max)
            .enumerate()
            .map(|(index, value)| self.child(Step::Index(index), value))
            .collect()
    }

    fn bound(&self, count: usize, count_max: usize, what: &str) {
        if count > count_max {
            self.fault(format!(
                "{count} {what} are too many; at most {count_max} are accepted"
            ));
        }
    }

    /// A line of text: not empty, no control characters.
    pub(super) fn text(&self, chars_max: usize) -> Option<&'v str> {
        self.prose_without(chars_max, char::is_control)
    }

    /// Text that may have several lines.
    pub(super) fn prose(&self, chars_max: usize) -> Option<&'v str> {
        self.prose_without(chars_max, |letter| {
            letter.is_control() && !matches!(letter, '\n' | '\t')
        })
    }

    fn prose_without(&self, chars_max: usize, refused: impl Fn(char) -> bool) -> Option<&'v str> {
        let Value::String(text) = self.value else {
            self.wanted("a string");
            return None;
        };
        let chars = text.chars().count();
        if text.trim().is_empty() {
            self.fault("must not be empty");
        } else if chars > chars_max {
            self.fault(format!(
                "has {chars} characters; at most {chars_max} are accepted"
            ));
        } else if text.chars().any(refused) {
            self.fault("must not contain control characters");
        } else {
            return Some(text);
        }
        None
    }

    /// Text as it is, for values with rules of their own.
    pub(super) fn any_text(&self) -> Option<&'v str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wanted("a string");
        }
        text
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.wanted("true or false");
        }
        flag
    }

    pub(super) fn integer(&self, min: u32, max: u32, unit: &str) -> Option<u32> {
        let number = self
            .value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let found = if self.value.is_number() {
                self.value.to_string()
            } else {
                kind_of(self.value).to_owned()
            };
            self.fault(format!(
                "expected a whole number of {unit} from {min} to {max}, found {found}"
            ));
        }
        number
    }

    /// One of a closed set of words.
    pub(super) fn choice<T: Copy>(&self, options: &[(&str, T)]) -> Option<T> {
        let word = self.any_text()?;
        let found = options
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, choice)| *choice);
        if found.is_none() {
            let names = || options.iter().map(|(name, _)| *name);
            self.fault(format!(
                "`{}` is not known here; {}",
                shown(word),
                suggestion(word, names())
            ));
        }
        found
    }
}

impl<'v, 'p> Table<'v, 'p> {
    pub(super) fn node(&self) -> &Node<'v, 'p> {
        &self.node
    }

    /// Notes every key that is not in the list.
    pub(super) fn refuse_unknown(&self, known: &[&str]) {
        for (key, value) in self.entries {
            if !known.contains(&key.as_str()) {
                let hint = suggestion(key, known.iter().copied());
                let node = self.node.child(Step::Key(key), value);
                node.fault(format!("unknown key `{}`; {hint}", shown(key)));
            }
        }
    }

    /// The keys this table has.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'v str> {
        self.entries.keys().map(String::as_str)
    }

    pub(super) fn get(&self, key: &str) -> Option<Node<'v, '_>> {
        let (key, value) = self.entries.get_key_value(key)?;
        Some(self.node.child(Step::Key(key), value))
    }

    /// A key that must be there.
    pub(super) fn require(&self, key: &str) -> Option<Node<'v, '_>> {
        let node = self.get(key);
        if node.is_none() {
            self.node.fault(format!("`{key}` is missing"));
        }
        node
    }

    /// A list that may be left out, each item read by `read`; items it refuses are left out.
    pub(super) fn list<T>(
        &self,
        key: &str,
        count_max: usize,
        read: impl FnMut(&Node<'v, '_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(node) = self.get(key) else {
            return Vec::new();
        };
        node.items(count_max, "items")
            .iter()
            .filter_map(read)
            .collect()
    }

    /// A closed choice that may be left out.
    pub(super) fn choice<T: Copy>(&self, key: &str, options: &[(&str, T)], default: T) -> T {
        self.get(key)
            .and_then(|node| node.choice(options))
            .unwrap_or(default)
    }

    /// A flag that may be left out.
    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key)
            .and_then(|node| node.flag())
            .unwrap_or(default)
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn suggestion<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(word, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let names: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    format!("expected {}", names.join(", "))
}

/// A word of the document as it may stand in a message: short and without control characters.
pub(super) fn shown(word: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let mut text: String = word
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(escape_control)
        .collect();
    if word.chars().nth(SHOWN_CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}

fn escape_control(letter: char) -> Vec<char> {
    if letter.is_control() {
        letter.escape_default().collect()
    } else {
        vec![letter]
    }
}
