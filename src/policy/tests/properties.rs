//! No restriction ever opens anything.

use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::config::{Pattern, ToolRules};

fn selector() -> impl Strategy<Value = Selector> {
    let claim = |level: i32| Selector::Claim {
        path: vec!["level".into()],
        value: level.into(),
    };
    prop_oneof![
        Just(Selector::Everyone),
        "[ab]@(x|y)\\.example".prop_map(Selector::Email),
        "(x|y)\\.example".prop_map(Selector::EmailDomain),
        "[gh]".prop_map(Selector::Group),
        (0..3).prop_map(claim),
    ]
}

fn access_rule() -> impl Strategy<Value = AccessRule> {
    let action = prop_oneof![
        Just(AccessAction::Allow),
        Just(AccessAction::Block),
        Just(AccessAction::Bypass)
    ];
    let list = || proptest::collection::vec(selector(), 0..3);
    (action, list(), list(), list()).prop_map(|(action, include, require, exclude)| AccessRule {
        action,
        include,
        require,
        exclude,
    })
}

fn principal() -> impl Strategy<Value = Principal> {
    let kind = prop_oneof![4 => Just(PrincipalKind::Person), 1 => Just(PrincipalKind::Anonymous)];
    let email = proptest::option::of("[ab]@(x|y)\\.example");
    let groups = proptest::collection::vec("[gh]", 0..2);
    (kind, email, groups, 0_i32..3).prop_map(|(kind, email, groups, level)| Principal {
        kind,
        groups,
        claims: Map::from_iter([("level".to_owned(), level.into())]),
        ..person(email.as_deref())
    })
}

fn tool_rules() -> impl Strategy<Value = ToolRules> {
    let default = prop_oneof![
        Just(ToolDefault::Allow),
        Just(ToolDefault::ReadOnly),
        Just(ToolDefault::Deny)
    ];
    let patterns =
        || proptest::collection::vec("[ab*]{1,3}".prop_map(|text| Pattern::new(&text)), 0..3);
    (default, patterns(), patterns()).prop_map(|(default, allow, deny)| ToolRules {
        default,
        allow,
        deny,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A narrower allowance, or one more block, never admits anybody. (A narrower block may: that is its purpose.)
    #[test]
    fn no_restriction_admits_more(
        rules in proptest::collection::vec(access_rule(), 0..4),
        them in principal(),
        more in selector(),
        at in any::<prop::sample::Index>(),
        block in access_rule(),
    ) {
        let groups = HashMap::from([("g".to_owned(), vec!["a@x.example".to_owned()])]);
        let admits = |rules: Vec<AccessRule>| admit(&them, &portal_with(rules), &groups).is_ok();
        let before = admits(rules.clone());
        let mut narrowed = Vec::new();
        if !rules.is_empty() {
            let index = at.index(rules.len());
            if rules[index].action != AccessAction::Block {
                let (mut excluded, mut required) = (rules.clone(), rules.clone());
                excluded[index].exclude.push(more.clone());
                required[index].require.push(more);
                narrowed.extend([excluded, required]);
            }
        }
        let mut blocked = rules.clone();
        blocked.insert(at.index(rules.len() + 1), AccessRule { action: AccessAction::Block, ..block });
        narrowed.push(blocked);
        for rules in narrowed {
            prop_assert!(before || !admits(rules.clone()), "{rules:?}");
        }
    }

    /// One more deny pattern never permits anything, and never turns a write into a read.
    #[test]
    fn no_deny_permits_more(
        tools in tool_rules(),
        name in "[ab]{1,3}",
        read_only in any::<bool>(),
        pattern in "[ab*]{1,3}",
        at in any::<prop::sample::Index>(),
    ) {
        let config = config(&json!([rule("allow", &everyone())]), &json!({}));
        let portal = &config.portals[0];
        let admission = admitted(&config);
        let decided = |tools: ToolRules| {
            let place = PortalServer { server: Rc::clone(&portal.servers[0].server), tools };
            decide(&admission, portal, &place, Ask::Tool { name: &name, read_only })
        };
        let before = decided(tools.clone());
        let mut stricter = tools;
        stricter.deny.insert(at.index(stricter.deny.len() + 1), Pattern::new(&pattern));
        match (before, decided(stricter)) {
            (Err(_), after) => prop_assert!(after.is_err()),
            (Ok(before), Ok(after)) => {
                prop_assert_eq!(before.is_write(), after.is_write());
                prop_assert!(!Pattern::new(&pattern).matches(&name));
            }
            (Ok(_), Err(denial)) => prop_assert!(denial.rule.contains(".deny[")),
        }
    }

    /// Whoever gets in anonymously got in by a bypass, and whoever gets in at all by a rule that matches them.
    #[test]
    fn every_admission_names_a_rule_that_lets_in(rules in proptest::collection::vec(access_rule(), 0..4), them in principal()) {
        let portal = portal_with(rules.clone());
        if let Ok(admission) = admit(&them, &portal, &HashMap::new()) {
            let index = (0..rules.len()).find(|index| named(*index) == admission.rule);
            let rule = &rules[index.expect("a rule of the portal")];
            prop_assert!(rule.action != AccessAction::Block);
            prop_assert!(!rule.include.is_empty());
            prop_assert!(!them.is_anonymous() || rule.action == AccessAction::Bypass);
        }
    }
}
