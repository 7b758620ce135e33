// Builds the standard library for another target from the Debian package `rust-src` of exactly rustc's own version.
// Nothing of the system changes: apt runs with lists and caches of its own, in a folder that is removed afterwards.
// It takes archive addresses and keyrings from the machine's own apt configuration and adds only suites.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure, must, run } from "../process.mjs";
import { step } from "./step.mjs";

/** Newer than any stable suite, because rustup's stable is. */
const SUITES = ["trixie-backports", "forky", "sid"];

/**
 * @param {{ sysroot: string, target: string }} options `sysroot`: the toolchain's folder (`rustc --print sysroot`)
 */
export async function buildFromDistribution({ sysroot, target }) {
  requireDebian();
  const rustc = join(sysroot, "bin", "rustc");
  const version = /^rustc (\S+)/.exec(await must("Asking rustc for its version", rustc, ["--version"]))?.[1];
  const folder = mkdtempSync(join(tmpdir(), "portcullis-rust-src-"));
  const sources = join(sysroot, "lib", "rustlib", "src");
  const hadSources = existsSync(sources);
  try {
    const apt = await step("Debian's package lists, in a private folder", "20 s", () => privateApt(folder));
    const library = await step(`rust-src ${version}: download, check, unpack`, "15 s", () =>
      unpackSource(apt, folder, version),
    );
    if (!hadSources) {
      cpSync(library, join(sources, "rust", "library"), { recursive: true });
    }
    const built = await step(`the standard library for ${target}`, "30 s", () =>
      buildLibrary(folder, sysroot, target),
    );
    const to = join(sysroot, "lib", "rustlib", target, "lib");
    mkdirSync(to, { recursive: true });
    for (const file of built) {
      cpSync(file.path, join(to, file.name));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    if (!hadSources) {
      rmSync(sources, { recursive: true, force: true });
    }
  }
}

function requireDebian() {
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  if (!/^ID="?debian"?$/m.test(release)) {
    const name = /^PRETTY_NAME="?([^"\n]+)/m.exec(release)?.[1] ?? process.platform;
    throw new Failure(`Building the target from packaged source works on Debian only; this is ${name}.`);
  }
}

/** Returns the options that make every apt command use the private folder. */
async function privateApt(folder) {
  const archive = await configuredArchive();
  const list = join(folder, "debian.list");
  const trust = archive.keyring ? `[signed-by=${archive.keyring}] ` : "";
  writeFileSync(list, SUITES.map((suite) => `deb ${trust}${archive.uri} ${suite} main\n`).join(""));
  mkdirSync(join(folder, "lists", "partial"), { recursive: true });
  mkdirSync(join(folder, "cache", "archives", "partial"), { recursive: true });
  const options = [
    `Dir::Etc::SourceList=${list}`,
    "Dir::Etc::SourceParts=-",
    `Dir::State::Lists=${join(folder, "lists")}`,
    `Dir::Cache=${join(folder, "cache")}`,
    "APT::Get::List-Cleanup=0",
    "APT::Sandbox::User=root",
    "Acquire::Retries=2",
    "Acquire::Languages=none",
  ].flatMap((option) => ["-o", option]);
  // A suite that is gone is no reason to stop: another one may hold the version.
  await run("apt-get", [...options, "update"], { timeoutMs: 5 * 60_000 });
  return options;
}

/** The archive this machine takes Debian's own packages from. */
async function configuredArchive() {
  const format = "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)\t$(CREATED_BY)";
  const listed = await must("Asking apt for its sources", "apt-get", ["indextargets", "--format", format]);
  const codename = /^VERSION_CODENAME="?([^"\n]+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  const found = listed
    .split("\n")
    .map((line) => line.split("\t"))
    .find(
      ([, release, component, kind]) => release === codename && component === "main" && kind === "Packages",
    );
  if (!found) {
    throw new Failure(`apt has no source for ${codename ?? "this release"}'s component main.`);
  }
  return { uri: found[0], keyring: keyringOf(found[0]) };
}

/** The keyring that the machine's own entry for this archive is signed by; none means apt's default keys. */
function keyringOf(uri) {
  const parts = "/etc/apt/sources.list.d";
  const files = [
    "/etc/apt/sources.list",
    ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : []),
  ].filter((file) => /\.(list|sources)$/.test(file) && existsSync(file));
  const address = uri.replace(/\/$/, "");
  for (const file of files) {
    for (const entry of readFileSync(file, "utf8").split(file.endsWith(".list") ? "\n" : /\n\s*\n/)) {
      const words = entry.split(/[\s[\]]+/).map((word) => word.replace(/\/$/, ""));
      const keyring = /^Signed-By:\s*(\/\S+)/im.exec(entry) ?? /signed-by=(\/[^\s\]]+)/i.exec(entry);
      if (keyring && words.includes(address)) {
        return keyring[1];
      }
    }
  }
  return undefined;
}

async function unpackSource(apt, folder, version) {
  const listed = await must("Looking for rust-src", "apt-cache", [...apt, "madison", "rust-src"]);
  const versions = listed.split("\n").map((line) => line.split("|")[1]?.trim() ?? "");
  const match = versions.find(
    (each) => each === version || each.startsWith(`${version}+`) || each.startsWith(`${version}-`),
  );
  if (!match) {
    const held = versions.filter(Boolean).join(", ") || "none";
    throw new Failure(
      `No Debian suite (${SUITES.join(", ")}) holds rust-src ${version}; found: ${held}.`,
      "Switch to one of these Rust versions (`rustup default <version>`), if rustup can reach it.",
    );
  }
  await must("Downloading rust-src", "apt-get", [...apt, "download", `rust-src=${match}`], { cwd: folder });
  const archive = readdirSync(folder).find((file) => /^rust-src_.*\.deb$/.test(file));
  await must("Unpacking rust-src", "dpkg-deb", [
    "-x",
    join(folder, archive ?? "rust-src.deb"),
    join(folder, "source"),
  ]);
  const library = join(folder, "source", "usr", "src", `rustc-${version}`, "library");
  if (!existsSync(library)) {
    throw new Failure(`rust-src ${match} does not contain usr/src/rustc-${version}/library.`);
  }
  return library;
}

/** Compiles an empty crate with the standard library from source, and returns the library's files. */
async function buildLibrary(folder, sysroot, target) {
  const crate = join(folder, "crate");
  mkdirSync(join(crate, "src"), { recursive: true });
  writeFileSync(join(crate, "src", "lib.rs"), "#![no_std]\n");
  writeFileSync(
    join(crate, "Cargo.toml"),
    '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n\n' +
      '[profile.release]\npanic = "abort"\nlto = "off"\ncodegen-units = 1\n',
  );
  const std = "build-std=std,panic_abort,panic_unwind";
  await must(
    "Building the standard library",
    join(sysroot, "bin", "cargo"),
    [...["build", "--release", "--target", target, "-Z", std]],
    {
      cwd: crate,
      env: {
        RUSTC: join(sysroot, "bin", "rustc"),
        RUSTC_BOOTSTRAP: "1",
        // Without it no later build can optimise across crates: there would be no bitcode in the libraries.
        RUSTFLAGS: "-Cembed-bitcode=yes",
        CARGO_ENCODED_RUSTFLAGS: "-Cembed-bitcode=yes",
        CARGO_TARGET_DIR: join(crate, "target"),
      },
      mend: "cargo has to reach its registry for the standard library's own dependencies.",
    },
  );
  const built = join(crate, "target", target, "release", "deps");
  return readdirSync(built)
    .filter((name) => name.endsWith(".rlib") && !name.startsWith("libempty"))
    .map((name) => ({ name, path: join(built, name) }));
}
