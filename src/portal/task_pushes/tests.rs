use super::*;

fn told(message: &str) -> Option<(Value, Option<Status>)> {
    let told = Told::at(message.as_bytes())?;
    let changed = told.in_clients_words(message.as_bytes(), "se\"aled", &json!(7))?;
    Some((serde_json::from_slice(&changed).expect("JSON"), told.end()))
}

#[test]
fn a_push_is_told_under_the_clients_ids() {
    let subscription = json!({"io.modelcontextprotocol/subscriptionId":7});
    for (params, end) in [
        (json!({"taskId":"t","status":"working"}), None),
        (
            json!({"status":"completed","result":{"content":[]},"taskId":"t","_meta":{"x":1}}),
            Some(Status::Ok),
        ),
        (
            json!({"_meta":{},"taskId":"t","status":"completed","result":{"isError":true}}),
            Some(Status::ToolError),
        ),
        (
            json!({"taskId":"t","status":"failed","error":{"code":-1,"message":"m"}}),
            Some(Status::RpcError),
        ),
        (
            json!({"taskId":"t","status":"cancelled"}),
            Some(Status::Cancelled),
        ),
    ] {
        let message =
            json!({"jsonrpc":"2.0","method":"notifications/tasks","params":params}).to_string();
        let (changed, ended) = told(&message).expect("told");
        let mut expected = params.clone();
        expected["taskId"] = "se\"aled".into();
        expected["_meta"] = subscription.clone();
        assert_eq!(changed["params"], expected, "{message}");
        assert_eq!(ended, end, "{message}");
    }
}

#[test]
fn nothing_else_is_one() {
    for message in [
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"taskId":"t"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"notifications/tasks","params":{"taskId":"t"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/tasks","params":["taskId"]}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/tasks","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/tasks"}"#,
        "{",
    ] {
        assert!(told(message).is_none(), "{message}");
    }
}

#[test]
fn only_an_acknowledgment_says_what_is_honoured() {
    let ack = |params: Value| {
        let message = json!({"jsonrpc":"2.0","method":ACKNOWLEDGED,"params":params});
        honoured(message.to_string().as_bytes())
    };
    let all = json!({"notifications":{"taskIds":["a","b"]}});
    assert_eq!(ack(all), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(ack(json!({"notifications":{}})), Some(Vec::new()));
    assert_eq!(
        ack(json!({"notifications":{"taskIds":7}})),
        Some(Vec::new())
    );
    assert_eq!(
        honoured(br#"{"jsonrpc":"2.0","method":"x","params":{}}"#),
        None
    );
}
