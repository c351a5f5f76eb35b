"""From a trained bundle to the one in use: judging, promoting, retraining, reloading."""
