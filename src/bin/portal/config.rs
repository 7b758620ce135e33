//! `config check`, `config json` and `config apply`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use portcullis::config::{self, Config, Environment, limits::DOCUMENT_BYTES_MAX};
use serde_json::Value;

use crate::apply;
use crate::document::Document;
use crate::failure::{Failure, print, warn};

/// `config check FILE [--local]`
pub(crate) fn check(arguments: &[&str]) -> Result<(), Failure> {
    let (file, local) = match arguments {
        [file] if !file.starts_with('-') => (*file, false),
        [file, "--local"] | ["--local", file] => (*file, true),
        _ => {
            return Err(Failure::Usage(
                "config check takes FILE and perhaps --local".to_owned(),
            ));
        }
    };
    let (_, config) = load(file, local)?;
    let count =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    print(format_args!(
        "ok: {}, {}",
        count(config.portals.len(), "portal"),
        count(config.servers.len(), "server")
    ));
    Ok(())
}

/// `config json FILE`
pub(crate) fn json(arguments: &[&str]) -> Result<(), Failure> {
    let [file] = arguments else {
        return Err(Failure::Usage("config json takes FILE".to_owned()));
    };
    let (document, _) = load(file, false)?;
    print(format_args!("{:#}", document.json));
    Ok(())
}

/// Where `npm start` puts the portal.
const URL_DEFAULT: &str = "http://localhost:8787";

/// `config apply FILE [--url URL]`
pub(crate) fn apply(arguments: &[&str]) -> Result<(), Failure> {
    let (file, url) = match arguments {
        [file] if !file.starts_with('-') => (*file, URL_DEFAULT),
        [file, "--url", url] | ["--url", url, file] => (*file, *url),
        _ => {
            return Err(Failure::Usage(
                "config apply takes FILE and perhaps --url URL".to_owned(),
            ));
        }
    };
    let token = variable("SETUP_TOKEN")
        .ok_or("SETUP_TOKEN is not set: put the portal's one-time set-up token in this environment variable".to_owned())?;
    // An address on this machine is a portal in local development, and judges by its rules.
    let endpoint = apply::endpoint(url)?;
    let (document, _) = load(file, endpoint.is_loopback())?;
    apply::send(&endpoint, &token, &document)
}

fn load(file: &str, local: bool) -> Result<(Document, Config), Failure> {
    let document = Document::read(file, read_file(file)?)?;
    let secret_hosts = variable("SECRET_HOSTS");
    let local_development = if local {
        Some("1".to_owned())
    } else {
        variable("LOCAL_DEVELOPMENT")
    };
    let mut environment =
        Environment::from_variables(local_development.as_deref(), secret_hosts.as_deref())?;
    if secret_hosts.is_none() {
        assume_secret_hosts(&document.json, &mut environment);
    }
    match config::parse(document.json.to_string().as_bytes(), &environment) {
        Ok(config) => {
            remind_of_secret_hosts(secret_hosts.is_none(), &environment);
            Ok((document, config))
        }
        Err(errors) => Err(Failure::Refused(document.show(&errors))),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.trim().is_empty())
}

fn read_file(file: &str) -> Result<String, String> {
    let mut text = String::new();
    // TOML may be longer than its JSON form, by comments.
    let bytes_max = u64::try_from(DOCUMENT_BYTES_MAX)
        .unwrap_or(u64::MAX)
        .saturating_mul(4);
    let read = fs::File::open(file).and_then(|file| file.take(bytes_max).read_to_string(&mut text));
    match read {
        Ok(bytes) if u64::try_from(bytes) == Ok(bytes_max) => {
            Err(format!("{file}: larger than {bytes_max} bytes"))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{file}: {error}")),
    }
}

/// Without the worker's `SECRET_HOSTS` nobody here can know where a secret may go. The portal can, and judges again;
/// here it is assumed that every secret may go where this document sends it.
fn assume_secret_hosts(document: &Value, environment: &mut Environment) {
    let servers = document.get("servers").and_then(Value::as_object);
    for server in servers.into_iter().flat_map(|servers| servers.values()) {
        let Some(host) = secret_host(server) else {
            continue;
        };
        for secret in secrets(server) {
            let hosts = environment
                .secret_hosts
                .entry(secret.to_owned())
                .or_default();
            if !hosts.contains(&host) {
                hosts.push(host.clone());
            }
        }
    }
}

fn secret_host(server: &Value) -> Option<String> {
    if let Some(binding) = server.get("binding").and_then(Value::as_str) {
        return Some(format!("binding:{binding}"));
    }
    let url = url::Url::parse(server.get("url")?.as_str()?).ok()?;
    url.host_str().map(str::to_owned)
}

fn secrets(server: &Value) -> impl Iterator<Item = &str> {
    let bearer = server.pointer("/auth/secret");
    let headers = server.pointer("/auth/headers").and_then(Value::as_object);
    bearer
        .into_iter()
        .chain(headers.into_iter().flat_map(|headers| headers.values()))
        .filter_map(Value::as_str)
}

fn remind_of_secret_hosts(assumed: bool, environment: &Environment) {
    if assumed && !environment.secret_hosts.is_empty() {
        let sorted: BTreeMap<_, _> = environment.secret_hosts.iter().collect();
        let json = serde_json::to_string(&sorted).unwrap_or_default();
        warn(format_args!(
            "note: SECRET_HOSTS is not set here, so where secrets go was not checked. The worker must allow at least\n\
             note: SECRET_HOSTS={json}"
        ));
    }
}
