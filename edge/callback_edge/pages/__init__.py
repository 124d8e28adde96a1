"""Views of what is not a call, the templates of their pages, and problem+json for programs."""
