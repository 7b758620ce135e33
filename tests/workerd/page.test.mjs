// A portal's page in a real browser: what an employee sees, copies and chooses, under the page's own policy.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { findBrowser } from "../../scripts/setup/browser.mjs";
import { startPortal } from "../harness/portal.mjs";

const options = { timeout: 60_000 };
const WAIT_MS = 10_000;
const HOSTILE = `</title><script>document.title = "owned"</script><img src=x onerror="alert(1)">'{{script}}&lt;`;
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let portal;
let browser;

before(async () => {
  browser = await chromium.launch({ executablePath: chromiumPath(), args: FLAGS, timeout: 30_000 });
  const access = [{ action: "allow", include: [{ everyone: true }] }];
  portal = await startPortal({
    config: {
      portals: {
        main: { name: "Acme", hostnames: ["localhost"], servers: [], access },
        finance: { name: "Acme Finance", servers: [], access },
        hostile: { name: HOSTILE, hostnames: ["hostile.localhost"], servers: [], access },
      },
    },
  });
}, options);

after(async () => {
  await browser?.close();
  await portal?.stop();
}, options);

/** `npm test` installs one where it may. */
function chromiumPath() {
  const found = findBrowser();
  assert.ok(found, "There is no Chromium for the browser tests: run `npm test`, or set CHROMIUM_PATH.");
  return found;
}

/** Opens an address in a browser of its own and keeps everything that goes wrong there. */
async function open(t, url, settings = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...settings });
  t.after(() => context.close());
  context.setDefaultTimeout(WAIT_MS);
  await context.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
  });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      faults.push(message.text());
    }
  });
  page.on("request", (request) => {
    const asked = request.url();
    if (asked !== url && !asked.startsWith("data:")) {
      faults.push(`it asks for ${asked}`);
    }
  });
  const response = await page.goto(url, { waitUntil: "load" });
  return { page, context, response, faults };
}

/** The address a portal has under another name of this machine. */
const on = (host) => portal.origin.replace("//localhost", `//${host}`);

test("the page shows the portal and its endpoint, and breaks no rule of its own", options, async (t) => {
  const { page, response, faults } = await open(t, `${portal.origin}/`);
  assert.equal(response.status(), 200);
  assert.equal(await page.locator("h1").textContent(), "Acme");
  assert.equal(await page.locator("#endpoint").textContent(), `${portal.origin}/mcp`);
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  assert.deepEqual(await page.evaluate(() => window.violations), []);
  assert.deepEqual(faults, []);
});

test("the page's policy runs no script but the page's own", options, async (t) => {
  const { page, response } = await open(t, `${portal.origin}/`);
  const policy = response.headers()["content-security-policy"];
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'sha256-[\w+/]{43}=';/);
  assert.doesNotMatch(policy, /unsafe/);
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
  });
  await page.waitForFunction(() => window.violations.length > 0);
  assert.equal(await page.evaluate(() => window.ran), undefined);
});

test("copy buttons copy what stands beside them", options, async (t) => {
  const { page, context, faults } = await open(t, `${portal.origin}/`);
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: portal.origin });
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());

  await page.getByRole("button", { name: "Copy the MCP endpoint" }).click();
  await page.getByRole("status").filter({ hasText: "Copied" }).waitFor();
  assert.equal(await clipboard(), `${portal.origin}/mcp`);

  await page.getByRole("button", { name: "Copy: the Claude Code command", exact: true }).click();
  await page.locator("#claude-code .by-sign-in .copy", { hasText: "Copied" }).waitFor();
  assert.equal(await clipboard(), `claude mcp add --transport http acme ${portal.origin}/mcp`);
  assert.deepEqual(faults, []);
});

test("one client is shown at a time, chosen with the keyboard", options, async (t) => {
  const { page } = await open(t, `${portal.origin}/`);
  const shown = () => page.locator(".panel:visible h3").allTextContents();
  assert.deepEqual(await shown(), ["Claude Code"]);
  await page.getByRole("radio", { name: "Claude Code" }).focus();
  await page.keyboard.press("ArrowRight");
  assert.deepEqual(await shown(), ["VS Code"]);
  await page.getByRole("radio", { name: "Token" }).press("Space");
  const settings = JSON.parse(await page.locator("#vscode pre:visible").textContent());
  assert.equal(settings.servers.acme.url, `${portal.origin}/mcp`);
  assert.match(settings.servers.acme.headers.Authorization, /^Bearer \$\{input:/);

  const link = await page.locator("#vscode .install:visible").getAttribute("href");
  const [scheme, json] = link.split("?");
  assert.equal(scheme, "vscode:mcp/install");
  assert.equal(JSON.parse(decodeURIComponent(json)).url, `${portal.origin}/mcp`);
});

test("without script everything can be chosen and read, and no button is dead", options, async (t) => {
  const { page } = await open(t, `${portal.origin}/`, { javaScriptEnabled: false });
  assert.equal(await page.locator("button:visible").count(), 0);
  await page.locator("label", { hasText: "Cursor" }).click();
  const settings = JSON.parse(await page.locator(".panel pre:visible").textContent());
  assert.equal(settings.mcpServers.acme.url, `${portal.origin}/mcp`);
});

test("a narrow screen needs no sideways scrolling", options, async (t) => {
  const { page } = await open(t, `${portal.origin}/`, { viewport: { width: 360, height: 780 } });
  for (const client of await page.locator("input[name=client]").all()) {
    await client.press("Space");
    const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.equal(excess, 0, await client.getAttribute("id"));
  }
});

test("a named portal has a page of its own", options, async (t) => {
  const { page, response, faults } = await open(t, `${portal.origin}/p/finance`);
  assert.equal(response.status(), 200);
  assert.equal(await page.locator("h1").textContent(), "Acme Finance");
  assert.equal(await page.locator("#endpoint").textContent(), `${portal.origin}/p/finance/mcp`);
  assert.deepEqual(faults, []);
});

test("a name that is markup is shown as it is", options, async (t) => {
  const { page, response, faults } = await open(t, `${on("hostile.localhost")}/`);
  assert.equal(response.status(), 200);
  assert.equal(await page.locator("h1").textContent(), HOSTILE);
  assert.equal(await page.title(), `${HOSTILE} · MCP portal`);
  assert.equal(await page.locator("script").count(), 1);
  assert.equal(await page.locator("img").count(), 0);
  assert.deepEqual(await page.evaluate(() => window.violations), []);
  assert.deepEqual(faults, []);
});

test("hosts and names that no portal has are not found", options, async (t) => {
  for (const url of [`${on("nobody.localhost")}/`, `${portal.origin}/p/nobody`, `${portal.origin}/nowhere`]) {
    const { page, response } = await open(t, url);
    assert.equal(response.status(), 404, url);
    assert.equal(await page.locator("h1").textContent(), "Nothing here", url);
    assert.deepEqual(await page.evaluate(() => window.violations), [], url);
  }
});
