"""The script that Streamlit runs anew at every click: three statements."""

from __future__ import annotations

import os
import sys

from training.dashboard.frame import run
from training.dashboard.options import parse

key = os.environ.get("PLTV_BUNDLE_KEY")
run(parse(sys.argv[1:]), key.encode() if key else None)
