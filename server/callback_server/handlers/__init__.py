"""The ways in which a call gets its answer. `record` needs none: its call ends in the claim itself."""
