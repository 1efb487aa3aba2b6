"""What ships with eozoo itself: tasks for anybody's data, and the networks and losses that they begin with."""
