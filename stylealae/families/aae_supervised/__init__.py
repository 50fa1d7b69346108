"""The AAE whose G takes the label: z is left with the style."""
