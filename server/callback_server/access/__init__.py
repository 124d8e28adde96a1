"""Who may call which method: principals, tokens, certificates and roles."""
