"""The pages that people read, and the views that return them."""
