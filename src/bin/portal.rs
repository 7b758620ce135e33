//! The command line: `npm run portal -- <verb>`. It runs on the administrator's machine only; for the worker's
//! target this is an empty program.

#[cfg(not(target_arch = "wasm32"))]
#[path = "portal/apply.rs"]
mod apply;
#[cfg(not(target_arch = "wasm32"))]
#[path = "portal/config.rs"]
mod config;
#[cfg(not(target_arch = "wasm32"))]
#[path = "portal/curl.rs"]
mod curl;
#[cfg(not(target_arch = "wasm32"))]
#[path = "portal/document.rs"]
mod document;
#[cfg(not(target_arch = "wasm32"))]
#[path = "portal/failure.rs"]
mod failure;
#[cfg(not(target_arch = "wasm32"))]
#[path = "portal/loopback.rs"]
mod loopback;
#[cfg(not(target_arch = "wasm32"))]
#[path = "portal/verbs.rs"]
mod verbs;

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    verbs::run(&arguments)
}

#[cfg(target_arch = "wasm32")]
fn main() {}
