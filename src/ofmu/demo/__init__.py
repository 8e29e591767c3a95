"""The built-in stories behind `ofmu demo`: fictitious people and handwritten digits."""
