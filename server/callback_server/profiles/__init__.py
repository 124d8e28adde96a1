"""The verification profiles that owners make while servers run."""
