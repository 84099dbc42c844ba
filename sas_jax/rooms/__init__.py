"""The embedded world: procedural furnished rooms with exact labels."""
