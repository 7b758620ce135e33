// The portal as a variant of the bench: the same workers, migrations and set-up that its tests use.

import { randomBytes } from "node:crypto";
import { applyConfig } from "../harness/config.mjs";
import { portalWorkers } from "../harness/worker.mjs";
import { migrate } from "./tables.mjs";

const NAME = "portal";

/** The variant with its configuration document; throws when the portal has not been built. */
export function makePortalVariant(document, services) {
  const setupToken = randomBytes(24).toString("base64url");
  const sealKey = randomBytes(32).toString("base64url");
  return {
    name: NAME,
    tool: "echo_echo",
    settleMs: 1500,
    workers: portalWorkers({
      name: NAME,
      vars: { LOCAL_DEVELOPMENT: "1" },
      secrets: { SETUP_TOKEN: setupToken, SEAL_KEY: sealKey },
      services,
    }),
    async prepare(world) {
      await migrate(await world.mf.getD1Database("DB", NAME));
      await applyConfig(`http://localhost:${world.ports[NAME]}`, document, setupToken);
    },
  };
}
