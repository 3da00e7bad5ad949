"""One module a dataset: ``load() -> Dataset``. A module here is a dataset; its name is the name."""
