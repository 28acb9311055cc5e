"""What authors use: lessons/ is read, and notebooks/, exercises/ and solutions/ are made of it."""
