"""The AAE whose D takes labels: a class has its component of the prior."""
