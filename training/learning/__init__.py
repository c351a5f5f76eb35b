"""From X and labels to models: boosters, their out-of-fold scores, stacking and calibration, on plain arrays."""
