"""Offline: raw rows in, a published bundle out."""

from __future__ import annotations

import os

# Read when OpenMP is loaded, with LightGBM. By default its threads spin while they wait for one another: on a machine
# that does anything else a fit of 40 trees took 44 s instead of 4.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
