"""Path of one call: `exchange` reads the `request`, asks a server and sends the `answer`."""
