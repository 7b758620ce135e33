use super::*;

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::empty(SnapshotKey::shared("jira"), Facts::default(), 1_000, 500);
    snapshot.take(Listing::Tools, r#"{"name":"get","description":"d","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}"#);
    snapshot.take(Listing::Tools, r#"{"name":"set","inputSchema":{}}"#);
    snapshot.take(Listing::Tools, r#"{"name":"get","inputSchema":{}}"#);
    snapshot.take(Listing::Tools, r#"{"title":"nameless"}"#);
    snapshot.take(Listing::Resources, r#"{"uri":"wiki://a","name":"A"}"#);
    snapshot.take(
        Listing::Templates,
        r#"{"uriTemplate":"wiki://page/{id}","name":"P"}"#,
    );
    snapshot
}

#[test]
fn items_are_indexed_and_what_is_unusable_is_said() {
    let snapshot = snapshot();
    assert_eq!(snapshot.tools.len(), 2);
    assert!(
        snapshot
            .tool("get")
            .is_some_and(|tool| tool.read_only && tool.description_at.is_some())
    );
    assert!(snapshot.tool("set").is_some_and(|tool| !tool.read_only));
    assert_eq!(snapshot.warnings.len(), 2, "{:?}", snapshot.warnings);
    assert_eq!(snapshot.lists_resource("wiki://a"), Some(Match::Exact));
    assert_eq!(
        snapshot.lists_resource("wiki://page/7"),
        Some(Match::Template)
    );
    assert_eq!(snapshot.lists_resource("wiki://page/7/8"), None);
}

#[test]
fn storing_and_loading_keeps_everything() {
    let snapshot = snapshot();
    assert_eq!(Snapshot::from_json(&snapshot.to_json()), Some(snapshot));
    assert_eq!(Snapshot::from_json("{}"), None);
}

#[test]
fn the_clients_era_wins_where_the_server_has_it() {
    let facts = |modern, legacy: Option<&str>| Facts {
        modern,
        legacy: legacy.map(str::to_owned),
        ..Facts::default()
    };
    let both = facts(true, Some("2025-11-25"));
    assert_eq!(
        (both.era_for(Era::Modern), both.era_for(Era::Legacy)),
        (Some(Era::Modern), Some(Era::Legacy))
    );
    assert_eq!(facts(true, None).era_for(Era::Legacy), Some(Era::Modern));
    assert_eq!(
        facts(false, Some("2025-06-18")).era_for(Era::Modern),
        Some(Era::Legacy)
    );
    assert_eq!(facts(false, None).era_for(Era::Modern), None);
}

#[test]
fn freshness_ends_on_time() {
    let snapshot = snapshot();
    assert!(snapshot.is_fresh(1_499));
    assert!(!snapshot.is_fresh(1_500));
}
