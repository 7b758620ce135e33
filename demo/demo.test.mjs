// The demo company as real clients see it: both official SDKs against the four servers, and sign-ins against
// the identity provider. Run with: node --test demo/demo.test.mjs
import "./tests/servers.mjs";
import "./tests/identity.mjs";
