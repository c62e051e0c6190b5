"""A benchmark as one page: summary, trajectories, errors, scale over distance, depth, settings."""
