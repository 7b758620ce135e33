// The numbers this bench answers for. `met` is decided here and nowhere else; where there is no target it is null.

const PRICES = [
  ["pair_modern_modern", "CPU of a call, modern client on a modern server"],
  ["pair_legacy_legacy", "CPU of a call, legacy client on a legacy server"],
  ["pair_modern_legacy", "CPU of a call, modern client on a legacy server"],
  ["pair_modern_legacy_asking", "the same for a client that can be asked"],
  ["pair_legacy_modern", "CPU of a call, legacy client on a modern server"],
  ["ask_modern_modern", "a call with one question, modern on modern"],
  ["ask_legacy_legacy", "a call with one question, legacy on legacy"],
  ["ask_modern_legacy", "a call with one question, modern on legacy"],
  ["ask_legacy_modern", "a call with one question, legacy on modern"],
].map(([id, title]) => ({ id, unit: id.startsWith("pair_") ? "us" : "ms", target: null, title }));

export const GOALS = [
  { id: "cpu_vs_js", unit: "ratio", target: 1.0, title: "CPU, 512 B at 8 connections: portal / js-portal" },
  { id: "added_us", unit: "us", target: 150, title: "CPU added over js-pass, 512 B at 8 connections" },
  {
    id: "result_64k_vs_js",
    unit: "ratio",
    target: 1.1,
    title: "CPU, 64 KB without inspection: portal / js-portal",
  },
  {
    id: "first_request_vs_js",
    unit: "ratio",
    target: 1.5,
    title: "first request in a fresh process: portal / js-portal",
  },
  {
    id: "wasm_gz_vs_bare",
    unit: "ratio",
    target: 5,
    title: "wasm, gzipped / a bare workers-rs worker (79 KB)",
  },
  {
    id: "identity_hit_vs_miss",
    unit: "ratio",
    target: 0.1,
    title: "CPU of identity: remembered token / new token",
  },
  { id: "denied_vs_allowed", unit: "ratio", target: 0.5, title: "CPU: refused call / allowed call" },
  ...PRICES,
];

const idsOf = (prefix) => GOALS.map(({ id }) => id).filter((id) => id.startsWith(prefix));

/** Names that stand for several goals on the command line. */
export const GROUPS = { pairs: idsOf("pair_"), asks: idsOf("ask_") };

/** Turns measured `{ value, note }` by id into the entries of the report; a missing one is not met. */
export function judgeGoals(wanted, measured) {
  return GOALS.filter(({ id }) => wanted.includes(id)).map(({ id, unit, target }) => {
    const { value = null, note = "not measured in this run" } = measured[id] ?? {};
    const met = target === null ? null : value !== null && Number.isFinite(value) && value <= target;
    return { id, value: value === null ? null : Number(value.toFixed(3)), unit, target, met, note };
  });
}
