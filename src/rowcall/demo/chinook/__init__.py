"""The Chinook music shop: real data, and a business day."""
