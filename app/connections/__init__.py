"""Connections that cost no more than they bring: bounded heads, bounded waits, a refusal before any work is done, and
a short way for the plain call.

uvicorn reads a head of any size, waits for a body without end and starts a task for each call. Here a head has a
limit, a request has to be whole within a time, an answer that nobody reads is dropped, and a call that the service has
no time for is refused where its head was read, or before: a refusal must cost a fraction of an answer, or an overload
eats itself. A plain `POST /predict` is answered from the parser's own callbacks; every other call is uvicorn's.

In the order of the bytes: `glance` (a call told without the parser), `upgrades` (the parser), `ends` (waits and
closing), `connection`; `host` is what the application tells them, `standins` what takes the place of uvicorn's cycle.
"""

from app.connections.connection import MAX_HEAD, MAX_HEADERS, Connection
from app.connections.ends import sweep_all

__all__ = ["MAX_HEAD", "MAX_HEADERS", "Connection", "sweep_all"]
