"""Scripts that make the tables which ship with explorers: ``python -m tinykit.explore.sweep``.

One module a table, named like it, with `SEEDS` and ``run(work, seeds)``, the table as JSON.
"""
