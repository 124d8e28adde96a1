"""Views: one module for each."""
