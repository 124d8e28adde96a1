"""Verification profiles of the hardening tests."""

SECRET = "a-secret-of-a-sender"
PROFILES = {
    "sender": 'kind = "github"',
    "slack": 'kind = "slack"',
    "hub": 'kind = "github"\nhandshake = { kind = "hub", topics = ["https://blog.example/feed"] }',
    "graph": 'kind = "shared-secret"\nparameter = "key"\nhandshake = { kind = "validation-token" }',
    "events": 'kind = "shared-secret"\nparameter = "key"\nhandshake = { kind = "cloudevents", origins = ["*"] }',
}
"""Settings of each profile, without its secret."""
