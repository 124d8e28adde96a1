"""Values and decisions: cases, calls, responses, URLs. Nothing here awaits, logs, or reads a clock or a setting."""
