"""Workers: handlers that connect to the server and receive calls over a stream that they keep open.

| file | content |
|---|---|
| `assignment.py` | one call at one worker: offered, accepted, confirmed, completed |
| `worker.py` | one worker that is connected to this process |
| `remote.py` | workers of other replicas; their assignments use the replica bus |
| `pool.py` | which worker gets which call, and when |
"""
