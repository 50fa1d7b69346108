"""Measures of a generative model, over features or pixels that are given: one idea a file.

Each file's functions take tensors and give back numbers; which images, how many, and over how many
ranks is the business of `pipeline.evaluation.evaluate`.
"""
