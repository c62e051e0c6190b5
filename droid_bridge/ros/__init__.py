"""The SLAM half's ROS 2 node; the only folder of this half that imports rclpy."""
