// How wrangler is called: by the packages' own Node, and without asking or reporting anything.
import { join } from "node:path";
import { node, root } from "../paths.mjs";

/**
 * @param {string} state what wrangler keeps for itself goes here
 * @param {...string} args
 */
export function wrangler(state, ...args) {
  const script = join(root, "node_modules", "wrangler", "bin", "wrangler.js");
  const env = {
    CI: "1",
    NO_COLOR: "1",
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_LOG_PATH: join(state, "logs"),
    // Two portals on one machine must not find each other's workers by name.
    WRANGLER_REGISTRY_PATH: join(state, "registry"),
    // Facts about the connection are made up locally; they need not come from the network.
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
  };
  return { command: node, args: [script, ...args], env };
}
