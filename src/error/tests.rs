use super::*;
use crate::mcp::Era;

#[test]
fn unknown_and_forbidden_tools_are_one_answer() {
    let wire = to_wire(&Rejection::UnknownTool("jira_x".into()).into(), Era::Modern);
    assert_eq!(
        (wire.status, wire.code, &*wire.message),
        (200, INVALID_PARAMS, "Unknown tool: jira_x")
    );
}

#[test]
fn a_missing_resource_has_the_code_of_its_era() {
    let error: PortalError = Rejection::UnknownResource("x://y".into()).into();
    assert_eq!(to_wire(&error, Era::Modern).code, INVALID_PARAMS);
    assert_eq!(to_wire(&error, Era::Legacy).code, RESOURCE_NOT_FOUND);
}

#[test]
fn an_unknown_method_is_a_404_only_in_the_modern_era() {
    let error: PortalError = Rejection::UnknownMethod("x/y".into()).into();
    assert_eq!(to_wire(&error, Era::Modern).status, 404);
    assert_eq!(to_wire(&error, Era::Legacy).status, 200);
}
