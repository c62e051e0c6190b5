"""What finds the cells of one frame in another."""
