"""What eozoo itself ships as a plugin."""
