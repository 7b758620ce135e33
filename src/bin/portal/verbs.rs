//! The verbs, in one table.

use std::process::ExitCode;

use crate::config;
use crate::failure::{Failure, print, warn};

struct Verb {
    /// The words that choose it.
    words: &'static [&'static str],
    run: fn(&[&str]) -> Result<(), Failure>,
}

const VERBS: [Verb; 3] = [
    Verb {
        words: &["config", "check"],
        run: config::check,
    },
    Verb {
        words: &["config", "json"],
        run: config::json,
    },
    Verb {
        words: &["config", "apply"],
        run: config::apply,
    },
];

const USAGE: &str = "\
usage: portal <verb>

  config check FILE [--local]     report every error of a configuration document
  config json FILE                print its JSON form, which the worker takes
  config apply FILE [--url URL]   check it and make it the portal's next revision
                                  (URL: http://localhost:8787, or your portal's https address)
  help                            this text

environment
  LOCAL_DEVELOPMENT=1   allow loopback addresses and the demo's rules (same as --local)
  SECRET_HOSTS          JSON: the hosts each worker secret may be sent to
  SETUP_TOKEN           authorises `config apply`";

/// Runs the verb the arguments begin with: 0 done, 1 refused, 2 asked wrongly.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if matches!(arguments.as_slice(), ["help" | "--help" | "-h", ..]) {
        print(USAGE);
        return ExitCode::SUCCESS;
    }
    let chosen = VERBS
        .iter()
        .find_map(|verb| Some((verb, arguments.strip_prefix(verb.words)?)));
    let result = match chosen {
        Some((verb, rest)) => (verb.run)(rest),
        None if arguments.is_empty() => Err(Failure::Usage("a verb is missing".to_owned())),
        None => Err(Failure::Usage(format!(
            "`{}` is not a verb here",
            arguments.join(" ")
        ))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused(message)) => {
            warn(message);
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            warn(format_args!("portal: {message}\n\n{USAGE}"));
            ExitCode::from(2)
        }
    }
}
