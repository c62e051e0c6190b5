"""DROID-SLAM's network in plain PyTorch, and the learned matcher it drives."""
