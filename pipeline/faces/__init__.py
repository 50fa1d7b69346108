"""Photos to aligned crops: landmarks, detectors, alignment."""
