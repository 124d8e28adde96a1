"""Workers: handlers that dial out, and get calls over a stream that they keep open.

| file | what |
|---|---|
| `seat.py` | one call with one worker: offered, started, begun, ended |
| `worker.py` | one worker that is connected here |
| `elsewhere.py` | the workers of other replicas, as far as is known here; their seats speak by mail |
| `pool.py` | who gets which call, and when |
"""
