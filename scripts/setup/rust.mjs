// The compilers that set-up cannot install by itself; it says how to get them.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Failure, run } from "../process.mjs";

const RUST_MINOR_MIN = 91;
const PACKAGES =
  "Debian, Ubuntu: sudo apt-get install -y build-essential pkg-config libssl-dev\n" +
  "Fedora:         sudo dnf install -y gcc pkgconf openssl-devel\n" +
  "Alpine:         sudo apk add build-base pkgconf openssl-dev\n" +
  "macOS:          xcode-select --install";

/** Fails with instructions when there is no Rust, an old one, or no linker. */
export async function checkRust() {
  const rustc = await run("rustc", ["--version"]);
  const mend = "Install stable Rust from https://rustup.rs and open a new shell (or `source ~/.cargo/env`).";
  if (rustc.code !== 0) {
    throw new Failure("There is no working Rust compiler (`rustc`) on the PATH.", mend, rustc.output);
  }
  const minor = Number(/^rustc 1\.(\d+)/.exec(rustc.stdout)?.[1]);
  if (!(minor >= RUST_MINOR_MIN)) {
    const found = rustc.stdout.trim();
    throw new Failure(`${found} is too old; 1.${RUST_MINOR_MIN} is needed.`, "Run `rustup update stable`.");
  }
  const cargo = await run("cargo", ["--version"]);
  if (cargo.code !== 0) {
    throw new Failure("There is no working `cargo` on the PATH.", mend, cargo.output);
  }
  if ((await run("cc", ["--version"])).code !== 0) {
    throw new Failure("There is no C compiler (`cc`), which Rust needs for linking.", PACKAGES);
  }
}

/** worker-build talks TLS by the system's OpenSSL; macOS and Windows bring their own. */
export async function checkOpenSsl() {
  if (process.platform === "darwin" || process.platform === "win32" || process.env.OPENSSL_DIR) {
    return;
  }
  const config = await run("pkg-config", ["--exists", "openssl"]);
  if (config.missing) {
    throw new Failure("There is no `pkg-config`, which worker-build needs to find OpenSSL.", PACKAGES);
  }
  const include = ["/usr/include", "/usr/local/include"].some((each) =>
    existsSync(join(each, "openssl/ssl.h")),
  );
  if (config.code !== 0 && !include) {
    throw new Failure("The OpenSSL headers are missing, which worker-build needs.", PACKAGES);
  }
}
