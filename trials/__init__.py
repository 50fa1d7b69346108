"""Trials with real hosts and real stores: long, as root, on Linux; `make faults`."""
