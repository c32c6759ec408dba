"""The face: what a person imports or types."""
