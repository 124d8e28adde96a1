"""Settings of profiles, `[profiles.NAME]`."""
