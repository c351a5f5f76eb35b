"""From X to prices: compiled trees, calibration, order projection, and the bundle that carries them."""
