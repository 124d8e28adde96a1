"""Access control: principals, their tokens and certificates, and the roles that methods need."""
