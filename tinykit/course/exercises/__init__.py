"""Exercises by name: one module each, with an `EXERCISE` (see `tinykit.course.exercise`)."""
