"""Whole datasets tracked with and without the scale prior: jobs, what runs them, and what they leave behind."""
