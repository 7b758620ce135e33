// Rules are turned into functions once per revision; a call only runs them.

/** A function from principal to boolean for a portal's list of access rules: the first match decides. */
export function compileAccess(rules, groups) {
  const compiled = rules.map((rule) => {
    const include = (rule.include ?? []).map((selector) => compileSelector(selector, groups));
    const require = (rule.require ?? []).map((selector) => compileSelector(selector, groups));
    const exclude = (rule.exclude ?? []).map((selector) => compileSelector(selector, groups));
    const matches = (principal) =>
      include.some((test) => test(principal)) &&
      require.every((test) => test(principal)) &&
      !exclude.some((test) => test(principal));
    return { allow: rule.action !== "block", matches };
  });
  return (principal) => compiled.find((rule) => rule.matches(principal))?.allow === true;
}

/** Whether a portal asks for no sign-in: a `bypass` rule for everyone that no other rule comes before. */
export function isOpen([first]) {
  return first?.action === "bypass" && (first.include ?? []).some((selector) => selector.everyone === true);
}

function compileSelector(selector, groups) {
  const [[kind, value]] = Object.entries(selector);
  const wanted = String(value).toLowerCase();
  switch (kind) {
    case "email":
      return (principal) => principal.email === wanted;
    case "email_domain":
      return (principal) => principal.domain === wanted;
    case "group": {
      const members = new Set((groups[value] ?? []).map((email) => email.toLowerCase()));
      return (principal) => members.has(principal.email) || principal.groups.includes(value);
    }
    case "everyone":
      return () => value === true;
    default:
      throw new TypeError(`unknown selector: ${kind}`);
  }
}

/** A function from tool to the rule that decides about it: deny, then allow, then the default. */
export function compileTools(rules = {}) {
  const deny = compilePatterns("deny", rules.deny, false);
  const allow = compilePatterns("allow", rules.allow, true);
  const fallback = rules.default ?? "read_only";
  return (tool) => {
    const decided = [...deny, ...allow].find(({ pattern }) => pattern.test(tool.name));
    const readOnly = tool.annotations?.readOnlyHint === true;
    const permitted = fallback === "allow" || (fallback === "read_only" && readOnly);
    return decided ?? { rule: `default ${fallback}`, permitted };
  };
}

function compilePatterns(action, patterns = [], permitted) {
  const literal = (part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return patterns.map((text) => ({
    rule: `${action} ${text}`,
    permitted,
    pattern: new RegExp(`^${text.split("*").map(literal).join(".*")}$`),
  }));
}
