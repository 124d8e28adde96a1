"""Who has sent a request: what an operator declares under `[profiles.NAME]`, and what a case can ask for."""
