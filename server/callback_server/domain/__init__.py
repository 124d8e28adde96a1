"""Values and decisions: cases, calls, responses, URLs. No I/O, no log, no clock and no settings."""
