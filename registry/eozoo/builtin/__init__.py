"""Tasks, networks and losses that come with eozoo itself, as a plugin like any other; ``plugin`` names them."""
