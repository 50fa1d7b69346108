"""Hosts die, links break, disks fill, and nothing is lost."""
