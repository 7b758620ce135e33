// The least a JavaScript worker can do between a client and an upstream: hand both streams through.

export default {
  fetch(request, env) {
    return env.MCP_ECHO.fetch(request);
  },
};
