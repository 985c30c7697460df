"""Systems: encoders, adapters and heads composed as published, and our own."""
