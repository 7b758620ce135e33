const ENTRIES_MAX = 5000;

/**
 * Where the identity provider keeps sign-ins, codes and refresh tokens: this process's memory, bounded. A
 * restart ends them; access tokens do not need it, they are checked by their signature.
 *
 * @returns {(kind: string) => object} what oidc-provider calls an adapter factory
 */
export function createMemory() {
  /** @type {Map<string, { payload: any, expiresAt: number }>} */
  const entries = new Map();

  function live(key) {
    const entry = entries.get(key);
    if (entry && entry.expiresAt > Date.now()) return entry.payload;
    entries.delete(key);
    return undefined;
  }

  return (kind) => {
    const keyOf = (id) => `${kind}:${id}`;
    const findWhere = (name, value) => {
      for (const key of entries.keys()) {
        if (!key.startsWith(`${kind}:`)) continue;
        const payload = live(key);
        if (payload?.[name] === value) return payload;
      }
      return undefined;
    };
    return {
      upsert: async (id, payload, expiresInSeconds) => {
        const expiresAt = expiresInSeconds ? Date.now() + expiresInSeconds * 1000 : Number.POSITIVE_INFINITY;
        entries.delete(keyOf(id));
        entries.set(keyOf(id), { payload, expiresAt });
        if (entries.size > ENTRIES_MAX) entries.delete(entries.keys().next().value);
      },
      find: async (id) => live(keyOf(id)),
      findByUid: async (uid) => findWhere("uid", uid),
      findByUserCode: async (userCode) => findWhere("userCode", userCode),
      consume: async (id) => {
        const payload = live(keyOf(id));
        if (payload) payload.consumed = Math.floor(Date.now() / 1000);
      },
      destroy: async (id) => {
        entries.delete(keyOf(id));
      },
      revokeByGrantId: async (grantId) => {
        for (const [key, { payload }] of entries) if (payload.grantId === grantId) entries.delete(key);
      },
    };
  };
}
