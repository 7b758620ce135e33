//! Groups written in the document.

use std::collections::HashMap;

use super::access::read_email;
use super::limits::{GROUPS_MAX, MEMBERS_PER_GROUP_MAX, NAME_CHARS_MAX};
use super::node::Node;

/// Lower-case e-mail addresses by group name.
pub(super) fn read_all(node: &Node<'_, '_>) -> HashMap<String, Vec<String>> {
    let mut groups = HashMap::new();
    for (name, node) in node.entries(GROUPS_MAX, "groups") {
        let strange = name.trim().is_empty() || name.chars().any(char::is_control);
        if strange || name.chars().count() > NAME_CHARS_MAX {
            node.fault(format!(
                "a group's name has 1 to {NAME_CHARS_MAX} characters and no control characters"
            ));
        }
        let members = node.items(MEMBERS_PER_GROUP_MAX, "members");
        groups.insert(
            name.to_owned(),
            members.iter().filter_map(read_email).collect(),
        );
    }
    groups
}
