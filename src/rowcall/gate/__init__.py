"""Before-handlers, asked from inside the writer's transaction."""
