"""Simulators, runners, reports and the command line."""
