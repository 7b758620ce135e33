//! Pages for people, as HTML texts. They are public: whoever knows the address may read them, so they say nothing
//! about a portal but its name and how to connect.

mod clients;
mod html;

use crate::config::Portal;
use crate::mcp::Revision;
use clients::Clients;
use html::{Html, fill};

/// What a page may do: show its own style, run its own script, and nothing else. The hashes are those of `page.css` and
/// `page.js`; a test compares them and says the new ones.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-X8ZSZeGDIRxJIaHKkG05y//Tu/y1gTN2FGJrt+ZmeSs='; \
    script-src 'sha256-EDmheo2fF6OlWy/jb6TksLPzEmHqOUOBioMqpbTqOXM='; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PORTAL: &str = include_str!("console/portal.html");
const SNIPPET: &str = include_str!("console/snippet.html");
const LOCAL: &str = include_str!("console/local.html");
const NOTICE: &str = include_str!("console/notice.html");
const STYLE: &str = concat!("<style>", include_str!("console/page.css"), "</style>");
const SCRIPT: &str = concat!("<script>", include_str!("console/page.js"), "</script>");

/// In the page itself, or a browser would ask for `/favicon.ico`.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E\
    %3Crect width='24' height='24' rx='5' fill='%231a2029'/%3E%3Cpath d='M5.5 20V10.5a6.5 6.5 0 0 1 13 0V20M9.5 5v14\
    M14.5 5v14M5.5 10.5h13M5.5 15h13' fill='none' stroke='%23f0a35e' stroke-width='1.5' stroke-linecap='round'/%3E\
    %3C/svg%3E";

/// The page of a portal, which answers at `endpoint`.
#[must_use]
pub fn portal_page(portal: &Portal, endpoint: &str) -> String {
    let clients = Clients::of(portal, endpoint);
    let json = |label: &str, file: &str, code: String| snippet(file, label, &code);
    let shell = |label: &str, code: String| snippet("Terminal", label, &code);
    let revisions = Revision::ALL.map(Revision::as_str).join(", ");
    let values = [
        ("style", Html::own(STYLE)),
        ("script", Html::own(SCRIPT)),
        ("icon", Html::text(ICON)),
        ("name", Html::text(&portal.name)),
        ("key", Html::text(&clients.key)),
        ("endpoint", Html::text(endpoint)),
        ("revisions", Html::text(&revisions)),
        ("metadata", Html::text(&clients.metadata())),
        (
            "claude_code_sign_in",
            shell("the Claude Code command", clients.claude_code(false)),
        ),
        (
            "claude_code_token",
            shell(
                "the Claude Code command with a token",
                clients.claude_code(true),
            ),
        ),
        (
            "vscode_link_sign_in",
            Html::text(&clients.vscode_link(false)),
        ),
        ("vscode_link_token", Html::text(&clients.vscode_link(true))),
        (
            "vscode_sign_in",
            json(
                "the VS Code file",
                ".vscode/mcp.json",
                clients.vscode(false),
            ),
        ),
        (
            "vscode_token",
            json(
                "the VS Code file with a token",
                ".vscode/mcp.json",
                clients.vscode(true),
            ),
        ),
        (
            "cursor_link_sign_in",
            Html::text(&clients.cursor_link(false)),
        ),
        ("cursor_link_token", Html::text(&clients.cursor_link(true))),
        (
            "cursor_sign_in",
            json(
                "the Cursor file",
                "~/.cursor/mcp.json",
                clients.cursor(false),
            ),
        ),
        (
            "cursor_token",
            json(
                "the Cursor file with a token",
                "~/.cursor/mcp.json",
                clients.cursor(true),
            ),
        ),
        (
            "inspector_sign_in",
            shell("the Inspector command", clients.inspector(false)),
        ),
        (
            "inspector_token",
            shell(
                "the Inspector command with a token",
                clients.inspector(true),
            ),
        ),
        (
            "other_sign_in",
            json("the settings", "mcp.json", clients.other(false)),
        ),
        (
            "other_token",
            json("the settings with a token", "mcp.json", clients.other(true)),
        ),
        (
            "local",
            clients.local_token().map_or_else(Html::default, |command| {
                let command = shell("the token command", command);
                fill(LOCAL, &[("token_command", command)])
            }),
        ),
    ];
    fill(PORTAL, &values).into_string()
}

/// No configuration is active.
#[must_use]
pub fn not_set_up() -> String {
    notice(
        "Not set up yet",
        "This portal has no configuration, so it lets nobody in and calls nothing.",
        "Its administrator applies the first one with “npm run portal -- config apply FILE --url URL”.",
    )
}

/// Nothing is here.
#[must_use]
pub fn not_found() -> String {
    notice(
        "Nothing here",
        "No portal answers at this address.",
        "A portal’s page is at “/” of its host name, or at “/p/” and its name. Its MCP endpoint ends in “/mcp”. \
         If you were given this address, ask the administrator for the right one.",
    )
}

fn notice(title: &'static str, lede: &'static str, aside: &'static str) -> String {
    let values = [
        ("style", Html::own(STYLE)),
        ("icon", Html::text(ICON)),
        ("title", Html::text(title)),
        ("lede", Html::text(lede)),
        ("aside", Html::text(aside)),
    ];
    fill(NOTICE, &values).into_string()
}

/// Something to copy. The label says what it is where there are several.
fn snippet(caption: &str, label: &str, code: &str) -> Html {
    let values = [
        ("caption", Html::text(caption)),
        ("label", Html::text(label)),
        ("code", Html::text(code)),
    ];
    fill(SNIPPET, &values)
}

#[cfg(test)]
mod tests;
