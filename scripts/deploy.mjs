// `npm run deploy`: the sandbox first, because the portal is bound to it; then the database; then the portal.
// Arguments go to `wrangler deploy`; with `--dry-run` nothing leaves this machine.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "./build.mjs";
import { node, root } from "./paths.mjs";
import { execute, Failure, run } from "./process.mjs";
import { setUp } from "./setup.mjs";

const SANDBOX = "codemode-sandbox/wrangler.toml";
const PORTAL = "wrangler.toml";
const NO_DATABASE = "00000000-0000-0000-0000-000000000000";

await execute(async () => {
  const args = process.argv.slice(2);
  const dry = args.includes("--dry-run");
  await setUp();
  await build();
  if (!dry && readFileSync(join(root, PORTAL), "utf8").includes(NO_DATABASE)) {
    const mend = "Run `npx wrangler d1 create portcullis` and write the id it prints into wrangler.toml.";
    throw new Failure("wrangler.toml does not name your D1 database yet.", mend);
  }
  await wrangler("Deploying the sandbox", ["deploy", "-c", SANDBOX, ...args]);
  if (!dry) {
    // Migrations only ever add before code that needs them, and remove after code that needed them.
    await wrangler("Migrating the database", ["d1", "migrations", "apply", "DB", "--remote", "-c", PORTAL]);
  }
  await wrangler("Deploying the portal", ["deploy", "-c", PORTAL, ...args]);
});

async function wrangler(what, args) {
  console.log(`» ${what}`);
  const { code } = await run(node, [join(root, "node_modules/wrangler/bin/wrangler.js"), ...args], {
    show: true,
    env: { WRANGLER_SEND_METRICS: "false" },
  });
  if (code !== 0) {
    throw new Failure(
      `${what} failed.`,
      "Mend what wrangler says above, then run this again: it is safe to repeat.",
    );
  }
}
