// The local database: migrated by wrangler, where something is to be migrated.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../paths.mjs";
import { must } from "../process.mjs";
import { step } from "../setup/step.mjs";
import { digestOf, isStamped, stamp } from "./stamp.mjs";
import { wrangler } from "./wrangler.mjs";

/** @param {string} state the folder that holds the local database */
export async function migrateDatabase(state) {
  const folder = join(root, "migrations");
  const files = readdirSync(folder).filter((file) => file.endsWith(".sql"));
  const digest = digestOf(files.sort().flatMap((file) => [file, readFileSync(join(folder, file))]));
  if (files.length === 0 || (existsSync(join(state, "v3", "d1")) && isStamped(state, "migrations", digest))) {
    return;
  }
  const { command, args, env } = wrangler(
    state,
    ...["d1", "migrations", "apply", "DB", "--local", "--persist-to", state],
  );
  await step("the local database: D1 migrations", "5 s", () =>
    must("Migrating the local database", command, [...args, "-c", "wrangler.toml"], {
      env,
      mend: `If the state folder is from another version, remove it and start again: rm -r ${state}`,
    }),
  );
  stamp(state, "migrations", digest);
}
