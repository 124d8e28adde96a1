"""Scripts that change state: one module per Lua file."""
