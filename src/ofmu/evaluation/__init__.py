"""What a model does is recorded once; metrics, gaps and the verdict are functions of these records."""
