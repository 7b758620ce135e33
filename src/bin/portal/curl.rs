//! One POST over https, by curl: the command line then needs no TLS of its own.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use url::Url;

use crate::apply::{REPLY_BYTES_MAX, REPLY_MS_MAX, Reply};

/// The token goes to curl's standard input as configuration, never to its arguments, which every process on the
/// machine can read. The body is no secret and goes through a file.
pub(crate) fn post(url: &Url, token: &str, body: &str) -> Result<Reply, String> {
    let file = BodyFile::write(body)?;
    let mut child = Command::new("curl")
        // First, or curl reads its owner's configuration file.
        .arg("--disable")
        .args([
            "--config",
            "-",
            "--silent",
            "--show-error",
            "--proto",
            "=https",
            "--request",
            "POST",
        ])
        .args(["--max-time", &(REPLY_MS_MAX / 1000).to_string()])
        .args(["--max-filesize", &REPLY_BYTES_MAX.to_string()])
        .args([
            "--write-out",
            "\n%{http_code}",
            "--header",
            "Content-Type: application/json",
        ])
        .arg("--data-binary")
        .arg(format!("@{}", file.path.display()))
        .args(["--url", url.as_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("curl is needed for https and could not be started: {error}"))?;
    let written = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(configuration(token).as_bytes()));
    let output = child
        .wait_with_output()
        .map_err(|error| format!("curl: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned());
    }
    if let Some(Err(error)) = written {
        return Err(format!("curl did not take the token: {error}"));
    }
    split(&output.stdout).ok_or_else(|| "curl gave no status".to_owned())
}

/// One line of curl's configuration syntax.
fn configuration(token: &str) -> String {
    let quoted = token.replace('\\', "\\\\").replace('"', "\\\"");
    format!("header = \"Authorization: Bearer {quoted}\"\n")
}

/// The body and, on the last line, the status.
fn split(output: &[u8]) -> Option<Reply> {
    let newline = output.iter().rposition(|byte| *byte == b'\n')?;
    let (body, status) = output.split_at_checked(newline)?;
    let status = std::str::from_utf8(status).ok()?.trim().parse().ok()?;
    Some(Reply {
        status,
        body: body.to_vec(),
    })
}

/// A file that is gone when curl is done.
struct BodyFile {
    path: PathBuf,
}

impl BodyFile {
    fn write(body: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("portal-config-{}.json", std::process::id()));
        let fault = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut options = OpenOptions::new();
        // Refuses a file, or a link, that somebody else put there.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(fault)?;
        let written = file.write_all(body.as_bytes()).map_err(fault);
        let created = Self { path };
        written.map(|()| created)
    }
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_cannot_leave_its_quotes() {
        assert_eq!(
            configuration(r#"a"b\c"#),
            "header = \"Authorization: Bearer a\\\"b\\\\c\"\n"
        );
    }

    #[test]
    fn the_status_is_the_last_line() {
        let reply = split(b"{\n}\n\n200").unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (200, &b"{\n}\n"[..]));
        assert!(split(b"200").is_none());
        assert!(split(b"x\n").is_none());
    }
}
