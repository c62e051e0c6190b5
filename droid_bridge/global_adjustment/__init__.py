"""All keyframes of a drive adjusted together, and with them what the calibration left of the lens."""
