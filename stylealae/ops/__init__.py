"""What torch lacks or does slowly, with its derivatives: convolution, fused operations, layers."""
