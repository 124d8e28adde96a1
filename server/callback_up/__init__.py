"""`callback up`: all of Callback on one machine, from nothing. A store, a server and an edge, as child processes.

1. Everything that can be refused is refused before anything is started: settings, addresses, the data directory.
2. The children live and die with the supervisor. However it ends, none of them is left behind.
3. A child that dies is started again, where it was: same addresses, same data.
4. What is stored survives, whichever of them is killed.
"""
