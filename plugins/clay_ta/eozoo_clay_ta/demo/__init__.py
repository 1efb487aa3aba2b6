"""The synthetic world of the demo, the tests and newcomers: made up, not observed."""
