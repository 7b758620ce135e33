//! Tool rules: which of a server's tools may be used.

use super::limits::{PATTERNS_PER_LIST_MAX, TOOL_NAME_CHARS_MAX};
use super::node::Node;
use super::pattern::Pattern;

/// Which tools of a server may be used. `deny` wins over `allow`, `allow` over `default`. Patterns are about the
/// server's own names, not about prefixed or aliased ones, so that renaming a tool never opens it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolRules {
    /// What holds for a tool no pattern names.
    pub default: ToolDefault,
    /// Tools that may be used.
    pub allow: Vec<Pattern>,
    /// Tools that may not be used.
    pub deny: Vec<Pattern>,
}

/// What holds for a tool that no pattern names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ToolDefault {
    /// Tools that declare themselves read-only may be used. What a document without rules gets.
    #[default]
    ReadOnly,
    /// Every tool may be used.
    Allow,
    /// No tool may be used.
    Deny,
}

pub(super) fn read(node: &Node<'_, '_>) -> ToolRules {
    let Some(table) = node.table(&["default", "allow", "deny", "approve"]) else {
        return ToolRules::default();
    };
    let patterns = |key| table.list(key, PATTERNS_PER_LIST_MAX, read_pattern);
    if let Some(approve) = table.get("approve")
        && !approve.items(PATTERNS_PER_LIST_MAX, "patterns").is_empty()
    {
        approve.fault("approvals are not supported yet; leave `approve` empty and use `deny`");
    }
    ToolRules {
        default: table.choice(
            "default",
            &[
                ("read_only", ToolDefault::ReadOnly),
                ("allow", ToolDefault::Allow),
                ("deny", ToolDefault::Deny),
            ],
            ToolDefault::default(),
        ),
        allow: patterns("allow"),
        deny: patterns("deny"),
    }
}

fn read_pattern(node: &Node<'_, '_>) -> Option<Pattern> {
    node.text(TOOL_NAME_CHARS_MAX).map(Pattern::new)
}
