"""The path of one call: its request, its answer, and what operators learn of it."""
