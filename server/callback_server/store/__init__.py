"""State in Redis or Valkey: one Lua file a transition, one typed wrapper a file, keys in one place."""
