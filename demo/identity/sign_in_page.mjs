import { EMPLOYEES } from "../data/employees.mjs";

const escapeHtml = (text) =>
  String(text).replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);

const STYLE = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  body { margin: 8vh auto; max-width: 30rem; padding: 0 1rem; }
  h1 { font-size: 1.4rem; }
  ul { list-style: none; padding: 0; }
  button { width: 100%; margin: .25rem 0; padding: .7rem 1rem; text-align: left; font: inherit;
    border: 1px solid #8886; border-radius: .5rem; background: #8881; cursor: pointer; }
  button:hover, button:focus-visible { border-color: currentcolor; }
  small { display: block; opacity: .75; }
  .quiet { background: none; border: 0; text-decoration: underline; }`;

/**
 * The sign-in page: who wants a sign-in, for what, and one button per employee.
 *
 * @param {{ uid: string, client: string, redirectHost: string, resource?: string }} request
 * @returns {string} HTML
 */
export function renderSignIn({ uid, client, redirectHost, resource }) {
  const action = `/interaction/${encodeURIComponent(uid)}`;
  const people = EMPLOYEES.map(
    ({ email, name, title, groups, device }) =>
      `<li><button name="login" value="${escapeHtml(email)}">${escapeHtml(name)}
        <small>${escapeHtml(email)} · ${escapeHtml(title)} · ${escapeHtml(groups.join(", "))} ·
        ${device.managed ? "managed" : "unmanaged"} device</small></button></li>`,
  );
  return renderPage(
    "Sign in to ACME",
    `<p><strong>${escapeHtml(client)}</strong> wants to sign you in${
      resource ? ` for <code>${escapeHtml(resource)}</code>` : ""
    }. The answer goes to <code>${escapeHtml(redirectHost)}</code>.</p>
    <form method="post" action="${action}">
      <ul>${people.join("\n")}</ul>
      <button class="quiet" name="refuse" value="yes">Do not sign in</button>
    </form>
    <p><small>This is the demo's identity provider. It asks for no password because it only answers on
    this machine.</small></p>`,
  );
}

/**
 * @param {string} title
 * @param {string} body HTML
 * @returns {string}
 */
export function renderPage(title, body) {
  return `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${escapeHtml(title)}</title>
  <style>${STYLE}</style>
</head>
<body><main><h1>${escapeHtml(title)}</h1>${body}</main></body>
</html>`;
}

/** @param {string} message */
export function renderProblem(message) {
  return renderPage("This did not work", `<p>${escapeHtml(message)}</p>`);
}
