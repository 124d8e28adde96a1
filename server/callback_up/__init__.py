"""`callback up`: a store, a server, an edge and a console on one machine, as child processes.

1. Settings, addresses and the data directory are checked before any process starts.
2. The children live and die with the supervisor. No child survives it, however it ends.
3. A child that dies is restarted with the same addresses and the same data.
4. Stored data survives, whichever process is killed.
"""
