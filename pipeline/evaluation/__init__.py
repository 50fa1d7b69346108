"""Measuring a trained model: context, metric registry, metrics, figures."""
