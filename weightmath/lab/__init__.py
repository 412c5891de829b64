"""The weight-space lab: what lies between models and around them, and which mixture is best."""
