"""The depth half's ROS 2 nodes; the only folder of this half that imports rclpy."""
