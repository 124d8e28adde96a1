"""Requests of senders: a trial of a profile on one (`callback verify`), and valid ones (`callback send`)."""
