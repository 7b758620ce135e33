//! One POST over plain HTTP/1.1 to a portal on this machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use url::Url;

use crate::apply::{REPLY_BYTES_MAX, REPLY_MS_MAX, Reply};

const CONNECT_MS_MAX: u64 = 5_000;
/// Bytes of a reply's status line and headers.
const HEAD_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn post(url: &Url, token: &str, body: &str) -> Result<Reply, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", url.origin().ascii_serialization());
    let mut stream = connect(url)?;
    let wait = Some(Duration::from_millis(REPLY_MS_MAX));
    stream.set_read_timeout(wait).map_err(fault)?;
    stream.set_write_timeout(wait).map_err(fault)?;
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {host}{port}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        url.path(),
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(fault)?;
    // A portal that refuses early may stop reading; what it says is then still there to be read.
    let sent = stream.write_all(body.as_bytes());
    let mut reply = Vec::new();
    let bytes_max = HEAD_BYTES_MAX.saturating_add(REPLY_BYTES_MAX.saturating_mul(2));
    let read = stream
        .take(u64::try_from(bytes_max).unwrap_or(u64::MAX))
        .read_to_end(&mut reply);
    if let Some(parsed) = parse(&reply) {
        return Ok(parsed);
    }
    sent.and(read).map_err(fault)?;
    Err(format!(
        "{}: the answer is not complete HTTP",
        url.origin().ascii_serialization()
    ))
}

/// Connects to the first loopback address of the name that answers. Only loopback: a hosts file may say otherwise.
fn connect(url: &Url) -> Result<TcpStream, String> {
    let origin = url.origin().ascii_serialization();
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("{origin}: {error}"))?;
    let local: Vec<SocketAddr> = addresses
        .filter(|address| address.ip().is_loopback())
        .collect();
    let mut last = "the name has no loopback address".to_owned();
    for address in local {
        match TcpStream::connect_timeout(&address, Duration::from_millis(CONNECT_MS_MAX)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("{origin}: {last}; is the portal running?"))
}

/// A complete reply, or nothing.
fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = bytes.split_at_checked(end)?;
    let body = body.get(4..)?;
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let (version, rest) = lines.next()?.split_once(' ')?;
    let status: u16 = rest.get(..3)?.parse().ok()?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    if status == 100 {
        return parse(body);
    }
    let header = |name: &str| {
        lines
            .clone()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let body = if header("transfer-encoding")
        .is_some_and(|(_, value)| value.trim().eq_ignore_ascii_case("chunked"))
    {
        unchunk(body)?
    } else if let Some((_, length)) = header("content-length") {
        body.get(..length.trim().parse().ok()?)?.to_vec()
    } else {
        body.to_vec()
    };
    (body.len() <= REPLY_BYTES_MAX).then_some(Reply { status, body })
}

fn unchunk(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut left = bytes;
    let mut body = Vec::new();
    loop {
        let line = left.windows(2).position(|window| window == b"\r\n")?;
        let (size, rest) = left.split_at_checked(line)?;
        let size = std::str::from_utf8(size).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let (chunk, rest) = rest.get(2..)?.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        left = rest.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn parsed(text: &str) -> Option<(u16, String)> {
        parse(text.as_bytes()).map(|reply| (reply.status, String::from_utf8(reply.body).unwrap()))
    }

    #[test]
    fn reads_every_framing() {
        let body = |head: &str, body: &str| parsed(&format!("HTTP/1.1 {head}\r\n\r\n{body}"));
        assert_eq!(
            body("200 OK\r\ncontent-length: 2", "abc"),
            Some((200, "ab".into()))
        );
        assert_eq!(body("404 Not Found", "abc"), Some((404, "abc".into())));
        assert_eq!(
            body(
                "200 OK\r\nTransfer-Encoding: chunked",
                "2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n"
            ),
            Some((200, "abc".into()))
        );
        assert_eq!(
            body("100 Continue", "HTTP/1.1 204 No Content\r\n\r\n"),
            Some((204, String::new()))
        );
    }

    #[test]
    fn refuses_what_is_cut_off_or_not_http() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
            "HTTP/1.1 x\r\n\r\n",
            "SSH-2.0-x\r\n\r\n",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn posts_to_a_real_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!(
            "http://localhost:{}/admin/api/config",
            listener.local_addr().unwrap().port()
        ));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            let mut seen = Vec::new();
            let mut buffer = [0; 1024];
            while !seen.ends_with(b"{\"a\":1}") {
                let count = stream.read(&mut buffer).unwrap();
                assert_ne!(count, 0);
                seen.extend_from_slice(&buffer[..count]);
            }
            stream
                .write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
            String::from_utf8(seen).unwrap()
        });
        let reply = post(&url.unwrap(), "s3cret", "{\"a\":1}").unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (201, &b"ok"[..]));
        let seen = server.join().unwrap();
        assert!(
            seen.starts_with("POST /admin/api/config HTTP/1.1\r\nHost: localhost:"),
            "{seen}"
        );
        assert!(
            seen.contains("\r\nAuthorization: Bearer s3cret\r\n"),
            "{seen}"
        );
        assert!(seen.contains("\r\nContent-Length: 7\r\n"), "{seen}");
    }
}
