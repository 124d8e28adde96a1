"""The path of a call, what waits for an answer, and what runs after one."""
