// The `name` section of a wasm module (WebAssembly core specification, appendix "Custom Sections"): for people who read
// profiles, and for nobody else.
const HEADER_BYTES = 8;
const CUSTOM = 0;

/**
 * The module without its `name` section.
 * @param {Buffer} module
 * @returns {Buffer}
 */
export function withoutNames(module) {
  const kept = [module.subarray(0, HEADER_BYTES)];
  let at = HEADER_BYTES;
  while (at < module.length) {
    const begin = at;
    const id = module[at];
    const size = number(module, at + 1);
    const content = size.end;
    at = content + size.value;
    if (id !== CUSTOM || nameOf(module, content) !== "name") {
      kept.push(module.subarray(begin, at));
    }
  }
  return Buffer.concat(kept);
}

function nameOf(module, at) {
  const length = number(module, at);
  return module.toString("utf8", length.end, length.end + length.value);
}

/** An unsigned LEB128 number, and where it ends. */
function number(module, at) {
  let value = 0;
  let scale = 1;
  let end = at;
  let byte;
  do {
    byte = module[end];
    value += (byte & 0x7f) * scale;
    scale *= 128;
    end += 1;
  } while (byte & 0x80);
  return { value, end };
}
