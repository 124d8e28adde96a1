"""Path of one call: `exchange` reads the `request`, invokes a server and returns the `answer`."""
