"""A trained model for others: model card, video."""
