"""Handlers: how a call gets its decision. The activity `record` needs none: its call ends in the claim itself."""
