"""What runs a network: the ``DepthEngine`` protocol and the engines behind it."""
