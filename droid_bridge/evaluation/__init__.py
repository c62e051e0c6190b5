"""How far a trajectory is from the truth: association, alignment, KITTI drift, scale, report and plots."""
