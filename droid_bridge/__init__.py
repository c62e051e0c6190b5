"""SLAM that stays metric: frames with metric depth in, a trajectory and a map in metres out."""
