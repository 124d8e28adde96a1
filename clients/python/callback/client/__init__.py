"""The clients of `CallbacksService`. Import their public names from `callback`."""
