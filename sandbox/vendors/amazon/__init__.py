"""A fake Amazon Seller Central: Login with Amazon tokens and the Listings Items API."""
