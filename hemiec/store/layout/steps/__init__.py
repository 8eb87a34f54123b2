"""The steps from each version of the layout to the next, one module each.

A step works on plain dictionaries and names no model: models are those of the latest version, steps stay as they are.
"""
