"""scripts/ can be imported as its files import each other."""

from __future__ import annotations

import sys

from tests.deploy.files import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
