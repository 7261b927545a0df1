"""The rules in force: watched, replaced in one step, kept for those who ask later."""
